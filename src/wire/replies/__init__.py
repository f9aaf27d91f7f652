"""Replies and refusals, for a person and for a program. Pure."""
