"""Captions: what a model saw and heard, as validated values. Schemas, prompts, the tolerant reader, subtitles."""
