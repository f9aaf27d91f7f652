"""Threads and tasks under a scheduler driven by a seed."""
