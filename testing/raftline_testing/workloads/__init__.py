"""Clients as machines: the same one runs in the virtual world and against real nodes."""
