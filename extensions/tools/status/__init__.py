"""The status of every node of a cluster: `raftline status`."""
