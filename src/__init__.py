"""raftline: a key-value store replicated by Raft, whose every byte a person can read."""
