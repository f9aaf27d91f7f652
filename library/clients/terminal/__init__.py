"""A client at a terminal: its options, its screen, its streams."""
