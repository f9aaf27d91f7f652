"""Sockets: who gets in, what they are answered, and the connections to the peers."""
