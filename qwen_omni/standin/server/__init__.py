"""The stand-in's server: its socket, its requests and replies, and the script it follows."""
