"""The steps of a node written down, and replayed."""
