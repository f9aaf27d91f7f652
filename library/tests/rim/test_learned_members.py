"""A client that was given one address continues at the members that the cluster names."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import raftline
import raftline.aio
from raftline.clients.asyncio.asker import AioAsker, InFlight
from raftline.clients.connections.node_connection import Deadline, LoginFailed, NodeConnection
from raftline.clients.requests import addresses, health
from raftline.clients.requests.addresses import Addresses
from raftline.clients.requests.conversation import Client
from raftline.clients.requests.search import (
    Answer,
    AskNode,
    ClientSessions,
    Connected,
    NodeTurns,
    search,
)
from raftline.common.address import Address
from raftline.wire.refusal import NO_LEADER
from raftline.wire.replies.replies import Reply
from raftline_testing.doubles.scripted_node import ScriptedNode

DEADLINE_S = 30.0
S1, S2 = Address("h1", 1), Address("h2", 2)


def status(**members: int) -> str:
    """Return what a node says whose members listen here."""
    places = {name: f"localhost:{port}" for name, port in members.items()}
    return "STATUS response: " + json.dumps({"leader": "s1", "members": places})


@contextmanager
def two_nodes(answers: Callable[[str], str | None]) -> Iterator[tuple[ScriptedNode, ScriptedNode]]:
    """Yield s1 and s2; each answers so, and names both as the members."""

    def handler(message: str) -> str | None:
        return reported if message == "status" else answers(message)

    s1, s2 = ScriptedNode(handler, "s1"), ScriptedNode(handler, "s2")
    reported = status(s1=s1.port, s2=s2.port)
    try:
        yield s1, s2
    finally:
        s1.close()
        s2.close()


def value(message: str) -> str:
    return f"GET response: {message.removeprefix('get ')}"


def events() -> Callable[[str], str]:
    """Return the answers of nodes that serve a watch; each that continues has one event more."""
    count = 0

    def answer(message: str) -> str:
        nonlocal count
        if not message.startswith("watch"):
            return value(message)
        count += 1
        first = f"EVENT {count} set a {count}\nx@EVENT {count}"
        return f"WATCH response: goes on after {count - 1}\nx@{first}"

    return answer


# --- requests -----------------------------------------------------------------------------------


def test_serving_node_is_asked_for_members_now_and_then() -> None:
    """The node that serves is asked for the members from time to time."""
    addresses = Addresses([S1], learns=True)
    nodes = NodeTurns([S1], addresses)
    steps = search(nodes, ClientSessions(), "c", "get a", Deadline(10))
    assert steps.send(None)[:3] == (S1, "c", "get a")
    assert steps.send(Reply("s1", "GET response: 5"))[:3] == (S1, "c", "status")
    reported = {"leader": "s1", "members": {"s1": str(S1), "s2": str(S2)}}
    with pytest.raises(StopIteration) as end:
        steps.send(Reply("s1", f"STATUS response: {json.dumps(reported)}"))
    assert end.value.value == Reply("s1", "GET response: 5")
    assert nodes.known == [S1, S2]
    again = search(nodes, ClientSessions(), "c", "get a", Deadline(10))
    again.send(None)
    with pytest.raises(StopIteration):
        again.send(Reply("s1", "GET response: 5"))


def test_members_are_asked_for_soon_after_a_change() -> None:
    """They are asked for after 5 s, then after twice that, up to a minute, and again from 5 s after
    a change."""
    known, now_s, pauses_s = Addresses([S1], learns=True), 0.0, []
    two = status(s1=1).replace("localhost", "h2")
    alone = two.replace("h2", "h1")
    assert known.asks(now_s)
    for reply in [*[alone] * 6, *[two] * 3]:
        known.take(reply, now_s)
        taken_s = now_s
        while not known.asks(now_s):
            now_s += 1
        pauses_s.append(now_s - taken_s)
    assert pauses_s == [5, 10, 20, 40, 60, 60, 5, 10, 20]


def test_a_node_that_serves_nothing_is_not_asked_for_the_members() -> None:
    steps = search(
        NodeTurns([S1], Addresses([S1], learns=True)), ClientSessions(), "c", "get a", Deadline(0)
    )
    steps.send(None)
    with pytest.raises(StopIteration) as end:
        steps.send(Reply("s1", NO_LEADER))
    assert end.value.value.text == NO_LEADER


def test_threads_continue_at_a_member_that_nobody_named() -> None:
    with two_nodes(value) as (s1, s2):
        with raftline.connect(f"localhost:{s1.port}", timeout=DEADLINE_S) as kv:
            assert kv["a"] == "a"
            s1.close()
            assert kv["b"] == "b"
        assert [line for line in s1.received if "status" in line] == ["program@status"]
        assert s2.received == ["program@get b"]  # who was asked lately is not asked again


async def test_tasks_continue_at_a_member_that_nobody_named() -> None:
    with two_nodes(value) as (s1, s2):
        async with raftline.aio.connect(f"localhost:{s1.port}", timeout=DEADLINE_S) as kv:
            assert await kv.get("a") == "a"
            await asyncio.to_thread(s1.close)
            assert await kv.get("b") == "b"
        assert s2.received == ["program@get b"]


@pytest.mark.parametrize("text", [None, "Sorry, bob may not read the status.", "what?"])
async def test_node_that_names_no_members_still_serves(text: str | None) -> None:
    """If a node names no members, its other replies still count."""

    def handler(message: str) -> str | None:
        return text if message == "status" else value(message)

    node = ScriptedNode(handler)
    try:
        with raftline.connect(f"localhost:{node.port}", timeout=DEADLINE_S) as kv:
            assert [kv["a"], kv["b"]] == ["a", "b"]
        async with raftline.aio.connect(f"localhost:{node.port}", timeout=DEADLINE_S) as of_tasks:
            assert [await of_tasks.get("a"), await of_tasks.get("b")] == ["a", "b"]
    finally:
        node.close()


async def test_failed_login_at_the_member_question_spares_the_reply(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If the question for the members ends in a failed login, the earlier reply still counts."""
    exchange, attempt = Client._exchange, AioAsker._attempt

    def refused(
        self: Client, node: NodeConnection, line: bytes, command: str, *limits: Any
    ) -> Reply:
        if command == "status":
            raise LoginFailed("the users are others now")
        return exchange(self, node, line, command, *limits)

    async def refused_too(self: AioAsker, in_flight: InFlight, step: AskNode) -> Answer | Connected:
        if step.command == "status":
            raise LoginFailed("the users are others now")
        return await attempt(self, in_flight, step)

    monkeypatch.setattr(Client, "_exchange", refused)
    monkeypatch.setattr(AioAsker, "_attempt", refused_too)
    with two_nodes(value) as (s1, _), raftline.connect(f"localhost:{s1.port}") as kv:
        assert kv["a"] == "a"
        async with raftline.aio.connect(f"localhost:{s1.port}") as of_tasks:
            assert await of_tasks.get("a") == "a"


def test_program_outlives_all_nodes_that_it_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program continues after all nodes that it was given are replaced."""
    monkeypatch.setattr(addresses, "AGAIN_S", 0.0)
    members: dict[str, int] = {}

    def handler(message: str) -> str:
        return status(**members) if message == "status" else value(message)

    nodes = [ScriptedNode(handler, f"s{number}") for number in (1, 2, 3, 4)]
    with raftline.connect(f"localhost:{nodes[0].port}", timeout=DEADLINE_S) as kv:
        for old, new in itertools.pairwise(nodes):
            members = {"s1": new.port}
            assert kv["a"] == "a"
            old.close()
        assert kv["b"] == "b"
    nodes[-1].close()


# --- watches ------------------------------------------------------------------------------------


def test_thread_watch_moves_to_a_member_nobody_named() -> None:
    """A watch of a client for threads continues at a member that was not given."""
    with two_nodes(events()) as (s1, s2):
        with raftline.connect(f"localhost:{s1.port}", timeout=DEADLINE_S) as kv:
            watch = kv.watch("a", after=0)
            assert watch.next_event(DEADLINE_S).index == 1  # type: ignore[union-attr]
            s1.close()
            assert watch.next_event(DEADLINE_S).index == 2  # type: ignore[union-attr]
            watch.close()
        assert s1.received == ["program#2@status", "program@watch a after 0"]
        assert s2.received[0] == "program@watch a after 1"


async def test_watch_of_tasks_continues_at_a_member_that_nobody_named() -> None:
    with two_nodes(events()) as (s1, s2):
        async with raftline.aio.connect(f"localhost:{s1.port}", timeout=DEADLINE_S) as kv:
            watch = kv.watch("a", after=0)
            assert (await watch.next_event(DEADLINE_S)).index == 1  # type: ignore[union-attr]
            await asyncio.to_thread(s1.close)
            assert (await watch.next_event(DEADLINE_S)).index == 2  # type: ignore[union-attr]
            watch.close()
        assert s1.received == ["program#2@status", "program@watch a after 0"]
        assert s2.received[0] == "program@watch a after 1"


def test_what_a_request_learned_a_watch_knows_too() -> None:
    with two_nodes(events()) as (s1, s2):
        with raftline.connect(f"localhost:{s1.port}", timeout=DEADLINE_S) as kv:
            assert kv["b"] == "b"
            s1.close()
            watch = kv.watch("a", after=0)
            assert watch.next_event(DEADLINE_S) is not None
            watch.close()
        assert s2.received[0] == "program@watch a after 0"


@pytest.mark.parametrize("kind", ["threads", "tasks"])
def test_a_watch_that_nobody_serves_any_more_says_so_in_the_log(
    kind: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "LOST_S", 0.0)
    caplog.set_level(logging.WARNING, "raftline")
    alone = ScriptedNode(lambda message: "WATCH response: 0 keys as of 5")
    at = f"localhost:{alone.port}"

    async def run() -> None:
        async with raftline.aio.connect(at, timeout=DEADLINE_S) as kv:
            watch = kv.watch("a")
            while not watch.is_listed:
                await watch._step()
            await asyncio.to_thread(alone.close)
            assert await watch.next_event(0.5) is None

    if kind == "tasks":
        asyncio.run(run())
    else:
        with raftline.connect(at, timeout=DEADLINE_S) as kv:
            watch = kv.watch("a")
            while not watch.is_listed:
                watch._step()
            alone.close()
            assert watch.next_event(0.5) is None
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1
    assert f"asked in turn: localhost port {alone.port}" in lines[0]
