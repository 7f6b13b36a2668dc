"""The stand-in's answers: derived from what it decoded, as text, JSON, tool calls or speech."""
