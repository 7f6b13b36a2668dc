"""Shared by the adapters of both frameworks."""
