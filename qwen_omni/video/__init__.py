"""Long videos: summaries, questions and notes."""
