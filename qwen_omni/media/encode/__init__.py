"""Carry out a plan: video, frames, audio and images."""
