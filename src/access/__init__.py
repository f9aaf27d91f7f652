"""The proofs and rights of those who come in: peers, users, roles, TLS."""
