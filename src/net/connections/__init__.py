"""Sockets of connections from outside, and the threads that serve them."""
