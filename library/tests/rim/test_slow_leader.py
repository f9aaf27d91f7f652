"""A leader that answers late: its answer counts at any time within the limit of a call.

The other nodes are asked meanwhile, in case that the leader hangs. The request stays in flight: it
is not sent to the leader again, and the connection is kept.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

import raftline
import raftline.aio
from raftline.wire.refusal import not_leader
from raftline_testing.doubles.scripted_node import Handler, ScriptedNode

LIMIT_S = 8.0
DEADLINE_S = 30.0


class Three:
    """A leader that answers once both followers have been asked, and these followers."""

    def __init__(self) -> None:
        self.asked = [threading.Event(), threading.Event()]
        self.leader = ScriptedNode(self.late, "s1")
        self.followers = [ScriptedNode(self.refuses(each), "s2") for each in self.asked]

    @property
    def at(self) -> list[str]:
        return [f"localhost:{node.port}" for node in (self.leader, *self.followers)]

    def late(self, command: str) -> str:
        if command == "session":
            return "SESSION response: program-1"
        if "slow" in command:
            for each in self.asked:
                each.wait(DEADLINE_S)
        return {"get": "GET response: 5", "set": "SET response: slow set to 5"}.get(
            command.partition(" ")[0], "what?"
        )

    def refuses(self, asked: threading.Event) -> Handler:
        def refuse(command: str) -> str:
            if "slow" in command:
                asked.set()
            return not_leader("s1", "localhost", self.leader.port)

        return refuse

    @property
    def slow(self) -> list[str]:
        """The late requests that the leader got."""
        return [line for line in self.leader.received if "slow" in line]


@pytest.fixture
def three() -> Iterator[Three]:
    three = Three()
    yield three
    for node in (three.leader, *three.followers):
        node.close()


def test_late_answer_of_a_leader_counts(three: Three) -> None:
    with raftline.connect(three.at, timeout=LIMIT_S) as kv:
        assert kv["a"] == "5"
        assert kv["slow"] == "5"
        kv["slow"] = "5"
        assert kv["b"] == "5"
    assert three.slow == ["program@get slow", "program-1#1@set slow 5"]
    assert len(three.leader.connections) == 1


def test_late_answer_of_a_leader_counts_for_tasks(three: Three) -> None:
    """Many requests are in flight on the only connection."""

    async def run() -> None:
        async with raftline.aio.connect(three.at, timeout=LIMIT_S) as kv:
            assert await kv.get("a") == "5"
            assert await asyncio.gather(kv.get("slow"), kv.get("b")) == ["5", "5"]
            await kv.set("slow", "5")
            assert await kv.get("b") == "5"

    asyncio.run(run())
    assert three.slow == ["program@get slow", "program-1#1@set slow 5"]
    assert len(three.leader.connections) == 1


def test_late_answer_of_a_leader_counts_in_a_pipeline(three: Three) -> None:
    """Its replies arrive on one connection, so no other node is asked for five eighths of
    the time."""
    with raftline.connect(three.at, timeout=LIMIT_S) as kv:
        assert kv["a"] == "5"
        threading.Timer(LIMIT_S / 4, lambda: [each.set() for each in three.asked]).start()
        assert kv.get_many(["slow", "b"]) == {"slow": "5", "b": "5"}
    assert three.slow == ["program@get slow"]


def test_change_that_is_sent_once_has_the_whole_limit(three: Three) -> None:
    """No other node may be asked for it."""
    with raftline.connect(three.at, timeout=LIMIT_S) as kv:
        assert kv["a"] == "5"
        threading.Timer(LIMIT_S / 4, lambda: [each.set() for each in three.asked]).start()
        assert kv.request("transfer slow") == "what?"
    assert three.slow == ["program@transfer slow"]
