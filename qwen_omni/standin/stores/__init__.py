"""The stand-in's stores: an OSS endpoint, the temporary store, and the media behind links."""
