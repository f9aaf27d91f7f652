"""The commands of `raftline` for a cluster as a whole and for a node's files."""
