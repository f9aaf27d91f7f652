"""Clusters in virtual time, in one process, under faults drawn from a seed."""
