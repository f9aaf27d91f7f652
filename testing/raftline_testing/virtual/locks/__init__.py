"""Simulated holders of locks and leases, and the checks of their rules."""
