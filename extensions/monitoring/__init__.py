"""The monitoring of a node over HTTP: its health, its readiness, and its metrics."""
