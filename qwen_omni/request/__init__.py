"""One request, from messages to bytes: check, fit, reserve, upload and encode."""
