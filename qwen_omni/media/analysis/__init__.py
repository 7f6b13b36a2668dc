"""What is in a video: how much motion, and good places to cut."""
