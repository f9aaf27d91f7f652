"""The doors of a node, each of them an extension."""
