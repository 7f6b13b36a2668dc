"""Videos and recordings → passages for a search index."""
