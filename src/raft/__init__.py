"""Consensus as a pure state machine, without I/O, clocks or randomness. Start in node.py."""
