"""What the stand-in sees and hears in media, decoded by its own code."""
