"""The base class of all errors that a program may get."""

from __future__ import annotations

from .public import public


@public("raftline")
class RaftlineError(Exception):
    """Any error of raftline: of a client, a lock, a collection, or a node in the program.

    `TypeError`, `ValueError` and `KeyError` keep their meaning in Python: an object that can't be a
    key or a value, and a missing key.
    """
