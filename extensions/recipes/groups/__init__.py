"""Programs together: parties, barriers, partitioners."""
