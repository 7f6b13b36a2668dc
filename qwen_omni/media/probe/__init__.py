"""What a file is: format, streams, tracks, duration, and whether it is complete."""
