"""Redis clients in the virtual world."""
