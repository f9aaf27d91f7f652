"""A cluster on this machine: `raftline up`, its processes and their output."""
