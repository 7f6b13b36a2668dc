"""DashScope's JSON, encoded and decoded. Pure: nothing here opens a file or a connection."""
