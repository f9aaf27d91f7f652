"""Calls of objects that end in time (library/tests/rim/test_deadlines.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import raftline

Calls = dict[str, Callable[[Any], object]]

CALLS: Final[Calls] = {
    "counter": lambda kv: raftline.ReplicatedCounter("a", kv).add(1),
    "dict": lambda kv: raftline.ReplicatedDict("a", kv)["b"],
    "qsize": lambda kv: raftline.ReplicatedQueue("a", kv).qsize(),
    "get_nowait": lambda kv: raftline.ReplicatedQueue("a", kv).get_nowait(),
}


def own_limits(limit_s: float) -> Calls:
    """Return calls with a limit of their own, shorter than that of the client."""
    return {
        "queue.get": lambda kv: raftline.ReplicatedQueue("a", kv).get(timeout=limit_s),
        "queue.put": lambda kv: raftline.ReplicatedQueue("a", kv).put(1, timeout=limit_s),
        "object.within": lambda kv: raftline.ReplicatedDict("a", kv).within(limit_s)["b"],
        "object's": lambda kv: raftline.ReplicatedDict("a", kv, timeout=limit_s)["b"],
    }
