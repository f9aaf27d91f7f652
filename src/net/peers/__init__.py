"""Connections to the other members, and how they begin."""
