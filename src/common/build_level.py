"""The level of this build, which stands for the newest verbs, options, records and messages that it
supports.

A cluster has a level too, which its leader raises once every member supports it
(docs/operate/upgrades.md). Until then this build writes and sends nothing that a member at the
cluster's level can't read.
"""

from __future__ import annotations

import os
from typing import NamedTuple
from zlib import crc32

LEVEL = 1  # the format of the first release
NO_LEVEL = "announces no level"  # instead of the version, as other implementations do


def new_cluster() -> str:
    """Return a new identity for a cluster: 64 random bits in hexadecimal digits."""
    return os.urandom(8).hex()


def continuing(earlier: str) -> str:
    """Return a new identity for a cluster that continues `earlier`, which has ended. Half of it is
    random, and half is a checksum by which the programs of `earlier` know it."""
    begin = os.urandom(4).hex()
    return begin + _sum_after(earlier, begin)


def continues(cluster: str, earlier: str) -> bool:
    """Return whether an identity was made by `continuing(earlier)`."""
    return len(cluster) == 16 and cluster[8:] == _sum_after(earlier, cluster[:8])


def _sum_after(earlier: str, begin: str) -> str:
    return f"{crc32(f'{earlier} {begin}'.encode()):08x}"


class Build(NamedTuple):
    """The level and the version that a build announces, the identity of its cluster, or "" if it
    does not know one yet (raft/levels.py), and the parts that it applies (common/effects.py)."""

    level: int
    version: str
    cluster: str = ""
    applies: frozenset[str] = frozenset()
