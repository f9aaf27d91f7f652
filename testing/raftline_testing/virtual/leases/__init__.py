"""Simulated holders of leases, and the checks of their rules."""
