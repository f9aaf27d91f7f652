"""Replicated objects in a program: a node inside it, and values that all programs share."""
