"""A copy in memory that a watch keeps, and a function that is called with each event."""

from __future__ import annotations

import logging
import queue

import pytest

import raftline
import raftline.aio
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import DEADLINE_S, eventually
from tests.processes.typed import at


def test_a_copy_has_all_keys_and_then_each_change(kv: raftline.KV[str]) -> None:
    kv.update({"c/a": "1", "c/b": "2", "d/a": "3"})
    with kv.cached("c/") as cache:
        assert cache == {"c/a": "1", "c/b": "2"}
        assert 0 <= cache.age < DEADLINE_S
        kv["c/a"] = "5"
        del kv["c/b"]
        kv["c/c"] = "6"
        cache.sync(DEADLINE_S)
        assert dict(cache) == {"c/a": "5", "c/c": "6"}
        assert (cache.get("c/b"), "c/c" in cache, len(cache), sorted(cache)) == (
            None, True, 2, ["c/a", "c/c"],
        )  # fmt: skip
        kv["c/late"] = "7"
        eventually(lambda: "c/late" in cache, "a change that nobody waits for")
        assert repr(cache).startswith("<a cache of 'c/' with 3 keys, ")
    with pytest.raises(RuntimeError, match="this cache was closed"):
        cache["c/a"]
    assert repr(cache).endswith(" closed>")
    with kv.binary.cached(b"c/") as raw:
        assert raw[b"c/a"] == b"5"


def test_a_copy_that_is_not_begun_or_lost_its_client_says_so(nodes: Cluster) -> None:
    with raftline.connect(at(nodes)) as kv:
        waiting = kv.cached("c/")
        with pytest.raises(RuntimeError, match="not complete yet"):
            len(waiting)
        cache = kv.cached("c/").start()
    eventually(lambda: repr(cache).endswith(" closed>"), "the end of its thread")
    with pytest.raises(RuntimeError, match="this cache was closed"):
        cache.sync()
    nowhere = raftline.connect("localhost:1", timeout=0.3)
    with nowhere, pytest.raises((raftline.Unreachable, raftline.NoLeader)):
        nowhere.cached("c/").start()


def test_a_copy_continues_when_the_leader_dies_and_knows_its_age(three: Cluster) -> None:
    with raftline.connect(at(three), timeout=4 * DEADLINE_S) as kv:
        kv["c/a"] = "1"
        with kv.cached("c/") as cache:
            three.leader().kill()
            kv["c/a"] = "2"
            cache.sync()
            assert cache["c/a"] == "2"
            for node in three.running:
                node.kill()
            with pytest.raises(raftline.errors.TimedOut, match="not have all writes in time"):
                cache.sync(0.2)
            assert cache["c/a"] == "2"  # as it was
            assert cache.age > 0.2


def test_a_function_is_called_with_each_event(
    kv: raftline.KV[str], caplog: pytest.LogCaptureFixture
) -> None:
    events: queue.Queue[tuple[str, str]] = queue.Queue()

    def take(event: raftline.api.Event[str]) -> None:
        events.put((event.kind, event.key))
        if event.value == "wrong":
            raise ValueError("not that")

    kv["e/a"] = "1"
    with caplog.at_level(logging.ERROR, "raftline"), kv.watch("e/").each(take):
        assert events.get(timeout=DEADLINE_S) == ("has", "e/a")
        kv["e/b"] = "wrong"
        kv["e/c"] = "2"
        seen = [events.get(timeout=DEADLINE_S) for _ in range(2)]
        assert seen == [("set", "e/b"), ("set", "e/c")]
