"""Watches of a node: from an applied entry to the lines for a client."""
