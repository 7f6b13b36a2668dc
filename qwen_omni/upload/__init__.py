"""Local media → a link or a body that the service can read. Each file is uploaded once."""
