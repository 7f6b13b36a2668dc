"""The stand-in's transcription tasks."""
