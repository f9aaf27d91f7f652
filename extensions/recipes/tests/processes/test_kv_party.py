"""A party at real nodes: who is here, also after a member and a leader were killed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

import raftline
import raftline.aio
from raftline_testing.doubles.scripted_node import SOURCE
from raftline_testing.nodes.cluster import Cluster
from tests.processes.typed import at

JOINS = """
import raftline, sys, threading
held = raftline.connect(sys.argv[1]).party("web", ttl=3).join("killed")
print(held.is_held, flush=True)
threading.Event().wait()
"""


def test_members_are_listed_in_the_order_in_which_they_joined(kv: raftline.KV[str]) -> None:
    party = kv.party("order")
    assert party.members() == []
    with party.join("b") as first, party.join("a") as second, party.join("b"):
        assert party.members() == ["b", "a", "b"]
        assert next(party.observe()) == ["b", "a", "b"]
        assert first.check() < second.check()
        second.release()
        assert party.members() == ["b", "b"]
    assert party.members() == []
    raw = kv.binary.party("raw")
    with raw.join(b"\xff"):
        assert raw.members() == [b"\xff"]


def test_an_observer_sees_a_member_and_a_leader_killed(three: Cluster) -> None:
    with raftline.connect(at(three)) as kv:
        party = kv.party("web", ttl=30)
        seen = party.observe()
        assert next(seen) == []
        with party.join("here"):
            assert next(seen) == ["here"]
            with subprocess.Popen(
                [sys.executable, "-c", JOINS, at(three)],
                text=True,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": str(SOURCE)},
            ) as member:
                assert member.stdout is not None
                assert member.stdout.readline() == "True\n"
                assert next(seen) == ["here", "killed"]
                member.kill()
            three.leader().kill()
            assert next(seen) == ["here"]
            assert party.members() == ["here"]
        assert next(seen) == []


def test_a_membership_that_was_lost_says_so(kv: raftline.KV[str]) -> None:
    party = kv.party("lost")
    held = party.join("a")
    kv.clear("party/lost/")
    with pytest.raises(raftline.LeaseLost, match="no longer belongs to this program"):
        held.check()
    with pytest.raises(TypeError, match="a value is str here, not int"):
        party.join(5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the name of a party has at least one byte"):
        kv.party("")


def test_asyncio_has_the_same_party(nodes: Cluster) -> None:
    async def work() -> None:
        async with raftline.aio.connect(at(nodes)) as kv:
            party = kv.party("tasks")
            seen = party.observe()
            assert await anext(seen) == []
            async with await party.join("a"):
                assert await anext(seen) == ["a"]
                assert await party.members() == ["a"]
            assert await anext(seen) == []

    asyncio.run(work())
