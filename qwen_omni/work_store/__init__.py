"""Finished steps and claims on unfinished ones, so that no answer is paid for twice. JSON values only."""
