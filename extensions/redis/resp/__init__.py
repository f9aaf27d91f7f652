"""The protocol of Redis: its bytes, its commands as lines of this store, and its replies. Pure."""
