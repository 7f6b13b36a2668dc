"""DashScope's JSON, both ways. Pure: nothing here opens a file or a connection."""
