"""The level of this build: the newest verbs, options, records and messages that it understands.

A cluster has a level as well, which its leader raises once every member is of that level
(docs/operate/upgrades.md). Until then this build writes and sends nothing that a member of the
cluster's level can't read.
"""

from __future__ import annotations

from typing import NamedTuple

LEVEL = 3
BEFORE_LEVELS = "0.1.0"  # the version of builds that announce no level


class Build(NamedTuple):
    """The level and the version of a build, as it announces them."""

    level: int
    version: str
