"""A node as a program: its arguments, settings, start, parts and console."""
