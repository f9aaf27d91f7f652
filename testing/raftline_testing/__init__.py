"""Judges and doubles: real nodes, histories, a virtual world, interleavings, an explorer."""
