"""Simulated clients that watch keys, and observers that read the state of nodes."""
