"""Simulated programs that use the client library, and the checks of what it promises them."""
