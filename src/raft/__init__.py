"""Consensus as a pure state machine. Start reading in node.py; no I/O, clock or chance in here."""
