"""Wrong arguments of a lock or an election are refused at once, in their own words."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from typing import Any, cast

import pytest

import raftline
import raftline.aio
from raftline.clients.calls.value_codec import TEXT
from raftline.harness.kv_cluster import KVCluster
from raftline.recipes.locks.lock_keys import LOCKS, LockKeys

NOWHERE = "127.0.0.1:1"  # nobody is asked
CONNECTS: list[Callable[..., Any]] = [raftline.connect, raftline.aio.connect]


class Word(str, enum.Enum):
    RED = "red"


async def later() -> None: ...


@pytest.mark.parametrize("connect", CONNECTS)
@pytest.mark.parametrize("kind", ["lock", "election"])
@pytest.mark.parametrize("on_lost", [5, "f", later])
def test_on_lost_is_a_plain_function(
    connect: Callable[..., Any], kind: str, on_lost: object
) -> None:
    with pytest.raises(TypeError, match="on_lost is a plain function"):
        getattr(connect(NOWHERE), kind)("a", on_lost=on_lost)


@pytest.mark.parametrize("connect", CONNECTS)
@pytest.mark.parametrize(("kind", "called"), [("lock", "a lock"), ("election", "an election")])
def test_the_name_of_a_lock_is_called_so(
    connect: Callable[..., Any], kind: str, called: str
) -> None:
    with pytest.raises(TypeError, match=f"the name of {called} is str here, not int"):
        getattr(connect(NOWHERE), kind)(5)
    with pytest.raises(ValueError, match=f"the name of {called} has at least one byte"):
        getattr(connect(NOWHERE), kind)("")


@pytest.mark.parametrize("connect", CONNECTS)
@pytest.mark.parametrize("kind", ["lock", "election", "semaphore", "party", "double_barrier"])
@pytest.mark.parametrize("ttl", [0.001, 0.003, 0.499])
def test_a_ttl_below_an_election_timeout_is_refused(
    connect: Callable[..., Any], kind: str, ttl: float
) -> None:
    """It would end before its holder knows of it, so a wait would claim again and again."""
    count = [2] if kind in ("semaphore", "double_barrier") else []
    with pytest.raises(ValueError, match=rf"a ttl of {ttl} seconds .* give at least 0\.5, "):
        getattr(connect(NOWHERE), kind)("a", *count, ttl=ttl)
    getattr(connect(NOWHERE), kind)("a", *count, ttl=0.5)


def test_the_ttl_of_a_job_is_refused_in_the_same_words() -> None:
    with pytest.raises(ValueError, match=r"a ttl of 0\.003 seconds would end before its holder"):
        raftline.connect(NOWHERE).queue("a").take(ttl=0.003, timeout=0)


def test_the_name_of_a_lock_may_be_an_enum() -> None:
    assert LockKeys(LOCKS, Word.RED).held == LockKeys(LOCKS, "red").held


@pytest.mark.parametrize(
    ("named", "acquire"),
    [
        ("lock/a/ alone", lambda kv, **more: kv.lock("a", **more).acquire(0)),
        ("lock/a/ shared", lambda kv, **more: kv.lock("a", shared=True, **more).acquire(0)),
        ("semaphore/a/ 3", lambda kv, **more: kv.semaphore("a", 3, **more).acquire(0)),
        ("election/a/ alone", lambda kv, **more: kv.election("a", **more).campaign("x", 0)),
    ],
)
@pytest.mark.parametrize("own_lease", [False, True])
def test_request_names_what_was_asked_for(
    named: str, acquire: Callable[..., Any], own_lease: bool
) -> None:
    cluster = KVCluster()
    kv: Any = raftline.KV(cast("Any", cluster), TEXT)
    held = acquire(kv, ttl=7, own_lease=own_lease)
    granted, claimed = cluster.asked[-2:]
    assert granted.startswith("lease 7")
    assert re.match(rf"hold {named} now lease-[0-9]+{'' if own_lease else '/1'} ", claimed)
    held.release()
    kv.close()
