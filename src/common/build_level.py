"""The level of this build, which stands for the newest verbs, options, records and messages that it
supports.

A cluster has a level too, which its leader raises once every member supports it
(docs/operate/upgrades.md). Until then this build writes and sends nothing that a member at the
cluster's level can't read.
"""

from __future__ import annotations

import os
from typing import NamedTuple

LEVEL = 1  # the format of the first release
NO_LEVEL = "announces no level"  # instead of the version, as other implementations do


def new_cluster() -> str:
    """Return a new identity for a cluster: 64 random bits in hexadecimal digits."""
    return os.urandom(8).hex()


class Build(NamedTuple):
    """The level and the version that a build announces, the identity of its cluster, or "" if it
    does not know one yet (raft/levels.py), and the parts that it applies (common/effects.py)."""

    level: int
    version: str
    cluster: str = ""
    applies: frozenset[str] = frozenset()
