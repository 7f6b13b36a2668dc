"""A run over a long video: a state machine, the workers behind it and the drivers around it."""
