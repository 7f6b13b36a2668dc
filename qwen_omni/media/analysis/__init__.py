"""What is in a video: how much it moves, and good places to cut."""
