"""Threads and tasks under a scheduler that a seed decides for."""
