"""Replicated objects in a program of one's own: a node inside it, and values that all share."""
