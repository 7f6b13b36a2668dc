"""What to do with a file so that a model accepts it at the lowest cost. Pure."""
