"""The stand-in's own decoding of video, images and audio."""
