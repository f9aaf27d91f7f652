"""Access: the proofs of who somebody is, and the rules of what they may do."""
