"""HTTP: the chat stream, the other routes, retries, rate limits and downloads."""
