"""The stand-in's stores: an OSS bucket, the temporary store, and the media fetched from links."""
