"""How the stand-in answers: from what it decoded, as text, JSON, tool calls or speech."""
