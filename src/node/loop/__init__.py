"""The threads that step the consensus core: requests in, writes and replies out."""
