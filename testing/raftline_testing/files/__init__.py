"""Folders and files in memory that lose what was not synced."""
