"""The documented rules of the service: limits, shapes, messages, tokens and refusals."""
