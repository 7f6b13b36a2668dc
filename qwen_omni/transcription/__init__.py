"""Transcription: who said what when, by the service's models for it."""
