"""The one base of the errors that a program meets."""

from __future__ import annotations

PUBLIC = "raftline"  # the module of errors, as a traceback names it and a program imports it


class RaftlineError(Exception):
    """Any error of raftline's own: of a client, a lock, a collection, a node in the program.

    `TypeError`, `ValueError` and `KeyError` stay what Python has: for what can't be a key or a
    value, and for a key that is not there.
    """

    __module__ = PUBLIC
