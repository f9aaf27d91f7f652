"""All attacks at once on real nodes, with users at work."""
