"""The part of the harness that belongs to the door for Redis clients."""
