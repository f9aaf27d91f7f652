"""Simulated programs that take locks and jobs, and the checks of their rules."""
