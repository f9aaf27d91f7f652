"""Access control: proofs of identity, and the rights of each identity."""
