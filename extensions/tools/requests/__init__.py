"""Requests to a running cluster: one command each, and commands run under a lock."""
