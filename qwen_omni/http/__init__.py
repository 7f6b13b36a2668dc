"""HTTP: the one package that names the HTTP libraries and the `openai` SDK."""
