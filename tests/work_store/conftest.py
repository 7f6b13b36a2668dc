"""The places of stores."""

from tests.support.postgres import own_server, place, postgres

__all__ = ["own_server", "place", "postgres"]
