"""What a call costs: before it is sent, while it is held back by a limit, and after the service has told."""
