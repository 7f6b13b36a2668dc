"""Long videos: cut, asked about piece by piece, and put together again."""
