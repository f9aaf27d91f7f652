"""The search through every order of events in a small world of the core."""
