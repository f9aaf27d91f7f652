"""Nodes as processes, the network between them, and what their clients saw: for tools and tests."""
