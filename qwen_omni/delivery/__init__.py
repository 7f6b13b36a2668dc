"""How media reaches the service: as a link, or inside the request."""
