"""Nodes as processes, and the network between them."""
