"""A node as monitoring sees it: its health, whether it serves, and its figures, over HTTP."""
