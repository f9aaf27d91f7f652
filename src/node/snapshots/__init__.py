"""Snapshots of a node, and the look after its files."""
