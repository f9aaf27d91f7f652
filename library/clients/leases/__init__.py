"""Leases that a client keeps: their time, their renewals, the claims under them."""
