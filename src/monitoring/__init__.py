"""The monitoring of a node over HTTP: its health, whether it serves, and its figures."""
