"""Search and answers over many videos and recordings: an index, embeddings, and questions."""
