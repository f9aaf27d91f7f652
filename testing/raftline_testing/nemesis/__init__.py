"""Campaigns of faults against real nodes, the clients at work meanwhile, and the verdict."""
