"""Locks, elections and semaphores: their keys, their claims, what a program holds."""
