"""The node under test: its process, its disk and the lock around it."""
