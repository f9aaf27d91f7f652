"""The part of the harness for locks, elections, queues and other recipes."""
