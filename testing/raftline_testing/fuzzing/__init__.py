"""Fuzzing of what a node reads: lines, proofs, logins, TLS, pages and files."""
