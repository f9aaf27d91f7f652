"""Snapshots of a node, and the check of its files."""
