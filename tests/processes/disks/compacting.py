"""Writes to a cluster that compacts its logs at 20 kB."""

from __future__ import annotations

import re

from raftline_testing.nodes.cluster import Cluster, NodeProcess
from raftline_testing.nodes.processes import eventually

COMPACT_AT = 20_000
KEYS = 100


def write(cluster: Cluster, first: int, count: int) -> None:
    """Set `count` values, in the order of their numbers, over 100 keys; all are acknowledged."""
    for begin in range(first, first + count, 100):
        numbers = range(begin, min(begin + 100, first + count))
        eventually(lambda numbers=numbers: _are_set(cluster, numbers), f"{numbers} acknowledged")


def _are_set(cluster: Cluster, numbers: range) -> bool:
    """Set these values; return whether all were acknowledged, as they are by one who leads on."""
    with cluster.leader().connect() as client:
        client.send(*[f"client4@set k{n % KEYS} {n} {'v' * 50}" for n in numbers])
        replies = client.read_lines(len(numbers))
    for number, reply in zip(numbers, replies, strict=True):
        refusal = reply.partition("@")[2]
        if refusal.startswith(("Sorry, outcome unknown", "Sorry, I am not", "Sorry, I know of no")):
            return False
        assert f"SET response: k{number % KEYS} set to {number} " in reply
    return True


def check(cluster: Cluster, last: int) -> None:
    """The last value of each key is there."""
    for number in range(last - KEYS + 1, last + 1):
        assert cluster.ask(f"client4@get k{number % KEYS}").startswith(f"GET response: {number} ")


def base_of(node: NodeProcess) -> int:
    """Return what the base line of the node's log says that it begins after."""
    found = re.match(r"(\d+) \d+ base ", node.log.read_text().splitlines()[0])
    assert found is not None
    return int(found[1])


def compacted(node: NodeProcess, beyond: int = 0) -> int:
    return eventually(lambda: max(0, base_of(node) - beyond), f"{node.name}.log compacted") + beyond
