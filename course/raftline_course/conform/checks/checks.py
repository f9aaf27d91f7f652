"""The table of all checks: a row names the level, the rule and its section."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from raftline_course.conform.cluster import TestedCluster
from raftline_course.conform.scene import Scene

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
ClusterBody = Callable[[TestedCluster], None]


@dataclass(frozen=True)
class Check:
    """A row. `size` is the number of voters; the kit plays all of them except one. A `cluster` has
    three real nodes."""

    level: int
    name: str
    rule: str
    section: str
    body: Body | None = None
    cluster: ClusterBody | None = None
    size: int = 3
    watches_syncs: bool = False


CHECKS: list[Check] = []


def check(
    level: int, name: str, rule: str, section: str, *, size: int = 3, watches_syncs: bool = False
) -> Callable[[Body], Body]:
    """Add the decorated function to the table: one real node among played peers."""

    def add(body: Body) -> Body:
        CHECKS.append(Check(level, name, rule, section, body, None, size, watches_syncs))
        return body

    return add


def cluster_check(
    level: int, name: str, rule: str, section: str
) -> Callable[[ClusterBody], ClusterBody]:
    """Add the decorated function to the table: all nodes are real."""

    def add(body: ClusterBody) -> ClusterBody:
        CHECKS.append(Check(level, name, rule, section, None, body))
        return body

    return add
