"""The part of the harness for the commands of `raftline`."""
