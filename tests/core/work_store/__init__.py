"""Tests of the store of finished work."""
