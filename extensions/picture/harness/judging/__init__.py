"""Judges of simulated runs and of transcripts: the laws of one step, and the facts of all nodes."""
