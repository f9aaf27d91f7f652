"""The door for Redis clients: their bytes as lines of this store, and the replies."""
