"""The table of all checks: a row names the level, the rule and its section."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from raftline.conform.scene import Scene

LEVELS = {
    1: "lines",
    2: "votes",
    3: "replication",
    4: "durability",
    5: "reads",
    6: "sessions",
    7: "snapshots",
    8: "membership",
}
Body = Callable[[Scene], None]
Kind = TypeVar("Kind", bound=Body)


@dataclass(frozen=True)
class Check:
    """One row. `size` is the number of voters; all but one are played by the kit, unless
    `is_cluster`: then all are real nodes."""

    level: int
    name: str
    rule: str
    section: str
    body: Body
    size: int = 3
    is_cluster: bool = False
    watches_syncs: bool = False


CHECKS: list[Check] = []


def check(
    level: int, name: str, rule: str, section: str, *, size: int = 3, is_cluster: bool = False,
    watches_syncs: bool = False,
) -> Callable[[Kind], Kind]:
    """Add the decorated function to the table."""

    def add(body: Kind) -> Kind:
        CHECKS.append(Check(level, name, rule, section, body, size, is_cluster, watches_syncs))
        return body

    return add
