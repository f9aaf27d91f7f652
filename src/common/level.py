"""The level of this build: the newest verbs, options, records and messages that it understands.

A cluster has a level as well, which its leader raises once every member is of that level
(docs/operate/upgrades.md). Until then this build writes and sends nothing that a member of the
cluster's level can't read.
"""

from __future__ import annotations

import os
from typing import NamedTuple

LEVEL = 4
BEFORE_LEVELS = "0.1.0"  # the version of builds that announce no level


def new_cluster() -> str:
    """Return an identity for a cluster without one: 64 bits of chance, in hexadecimal digits."""
    return os.urandom(8).hex()


class Build(NamedTuple):
    """The level and the version of a build, as it announces them, and the identity of its cluster:
    "" if that is not known there yet (raft/levels.py)."""

    level: int
    version: str
    cluster: str = ""
