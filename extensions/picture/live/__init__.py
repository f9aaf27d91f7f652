"""The steps of a running node: to its observers, and into the file of a recording."""
