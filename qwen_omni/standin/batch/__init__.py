"""Batch File: files of requests, and the batches that answer them."""
