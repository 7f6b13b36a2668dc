"""Media files: what a file is, what to do with it, and doing it. Knows no service and no message."""
