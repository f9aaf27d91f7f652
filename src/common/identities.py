"""The identities of clusters, and what a build announces."""

from __future__ import annotations

import os
from typing import Final, NamedTuple
from zlib import crc32


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
    """The version that a build announces, the identity of its cluster, or "" if it does not know
    one yet (raft/identity.py), and the parts that it applies (common/effects.py)."""

    version: str
    cluster: str = ""
    applies: frozenset[str] = frozenset()
    is_at_floor: bool = False  # it announces none, as other implementations do
    is_heard: bool = True  # on an open connection


AT_FLOOR: Final = Build("announces no build", is_at_floor=True)
NOT_HEARD: Final = Build("not heard yet", is_heard=False)
