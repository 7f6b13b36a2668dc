"""What the service accepts, as documented: limits, shapes, messages, tokens and refusals."""
