"""Simulated clients that read and write, and the history of their requests."""
