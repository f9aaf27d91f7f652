"""The processes of a hand-in, and the lock around them."""
