"""Campaigns of faults against real nodes, their clients, and the verdict."""
