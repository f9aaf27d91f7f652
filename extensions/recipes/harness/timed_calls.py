"""The calls of locks, elections and semaphores that take a time limit, of a client or of their own
(library/tests/rim/test_deadlines.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Call = Callable[[Any], object]
CALLS: dict[str, Call] = {
    "holder": lambda kv: kv.lock("a").holder(),
    "holders": lambda kv: kv.semaphore("a", 2).holders(),
    "leader": lambda kv: kv.election("a").leader(),
    "try": lambda kv: kv.lock("a").acquire(timeout=0),
}
# What a program takes with a client and a name, and the calls of what it then holds.
TAKES: dict[str, Callable[[Any, str], Any]] = {
    "lock": lambda kv, name: kv.lock(name, ttl=60).acquire(),
    "election": lambda kv, name: kv.election(name).campaign("me"),
}
HELD: dict[str, Call] = {
    "lock.check": lambda held: held["lock"].check(),
    "lock.release": lambda held: held["lock"].release(),
    "election.release": lambda held: held["election"].release(),
}


def own_limits(limit_s: float) -> dict[str, Call]:
    """Return the calls that have a limit of their own."""
    return {
        "try within": lambda kv: kv.within(limit_s).lock("a").acquire(timeout=0),
        "lock": lambda kv: kv.lock("a").acquire(timeout=limit_s),
        "shared lock": lambda kv: kv.lock("a", shared=True).acquire(timeout=limit_s),
        "semaphore": lambda kv: kv.semaphore("a", 2).acquire(timeout=limit_s),
        "election": lambda kv: kv.election("a").campaign("me", timeout=limit_s),
    }


def held_by_threads(limit_s: float) -> dict[str, Call]:
    """Return the calls of threads alone, with a limit of their own."""
    return {"lock.wait_lost": lambda held: held["lock"].wait_lost(limit_s)}
