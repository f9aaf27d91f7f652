"""Orders to a running node, and the faults that they cause."""
