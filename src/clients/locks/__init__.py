"""Locks, elections, semaphores and leases of a program."""
