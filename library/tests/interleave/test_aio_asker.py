"""Requests of many tasks on one connection: each gets its own reply, a write has one number."""

from __future__ import annotations

import asyncio
import collections
import contextlib
from typing import Any

import pytest
from library.tests.interleave.aio_node import Node

from raftline.clients.asyncio import link
from raftline.clients.asyncio.asker import AioAsker
from raftline.clients.asyncio.line_protocol import reach
from raftline.clients.asyncio.link import Link
from raftline.clients.connections.client_access import OPEN_ACCESS
from raftline.clients.connections.node_connection import ClientError
from raftline.common.address import Address
from raftline.wire.replies.replies import Reply
from raftline_testing.interleave.scenarios import check_interleavings, first_failure, seeds

TASKS = 4
LIMIT_S = 3.0


async def tasks_ask() -> None:
    """Tasks read and write; one is cancelled; the client is closed at the end."""
    loop: Any = asyncio.get_running_loop()
    numbers: dict[str, set[tuple[str, str]]] = collections.defaultdict(set)
    sessions = 0

    def answer(sender: str, number: str, command: str) -> str:
        nonlocal sessions
        verb, _, rest = command.partition(" ")
        if verb == "session":
            sessions += 1
            return f"SESSION response: program-{sessions}"
        if verb == "set":
            numbers[rest].add((sender, number))
            return f"SET response: {rest}"
        return f"GET response: {rest}" if verb == "get" else "Sorry, not here. Nothing was done."

    node = Node(loop, answer)
    asker = AioAsker([Address("one", 1), Address("two", 2)], "program", LIMIT_S)

    async def work(task: int) -> None:
        for verb in ("get", "set", "get", "set"):
            rest = f"{verb}-{task} {loop.chance.random()}"
            try:
                reply = await asker.request(f"{verb} {rest}", LIMIT_S)
            except ClientError:
                continue
            assert reply == f"{verb.upper()} response: {rest}", "the reply to another request"

    tasks = [asyncio.ensure_future(work(number)) for number in range(TASKS)]
    await asyncio.sleep(loop.chance.choice((0.0, 0.3, 1.0)))
    tasks[0].cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [end for end in ends[1:] if end is not None] == []
    assert ends[0] is None or isinstance(ends[0], asyncio.CancelledError)
    twice = [rest for rest, used in numbers.items() if len(used) > 1]
    assert twice == [], "a write may take effect twice"
    await asker.close()
    assert node.open == [], "a connection stays open"


async def an_attempt_is_given_up() -> None:
    """A connection to one of three nodes is given up, at any moment."""
    loop: Any = asyncio.get_running_loop()
    node = Node(loop, lambda *_: "")
    nodes = [Address("one", 1), Address("two", 2), Address("three", 3)]

    def make(address: Address) -> Link:
        return Link(address, "program")

    task = asyncio.ensure_future(reach(nodes[0], make, OPEN_ACCESS, LIMIT_S, iter(nodes[1:])))
    for _ in range(loop.chance.randrange(12)):
        await asyncio.sleep(0)
    await asyncio.sleep(loop.chance.choice((0.0, 0.05, 0.3, 0.5)))
    task.cancel()
    left = []
    with contextlib.suppress(asyncio.CancelledError, OSError):
        left = [await task]
    assert [each.protocol for each in node.open] == left


class ByTheOrder(Link):
    """Takes each reply for that of the next request that still waits."""

    def _answered(self, raw: bytes) -> bool:
        while self._waiting and self._waiting[0][1].done():
            self._waiting.popleft()
        name, _, text = raw.decode().partition("@")
        if self._waiting:
            self._waiting.popleft()[1].set_result(Reply(name.partition("#")[0], text))
        return True


@seeds(100, 20_000)
def test_a_connection_that_is_given_up_is_closed_by_then(seeds: range) -> None:
    check_interleavings(an_attempt_is_given_up, seeds)


@seeds(40, 20_000)
def test_each_task_gets_the_reply_to_its_request(seeds: range) -> None:
    check_interleavings(tasks_ask, seeds)


def test_a_client_is_closed_only_once_its_attempts_have_ended(monkeypatch: Any) -> None:
    """The attempt to connect ends seconds after it was cancelled, since the event loop is late."""

    async def reach_late(*_: object) -> Link:
        begun.append(True)
        try:
            return await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(5.0)
            ended.append(True)

    async def close_while_connecting() -> None:
        begun.clear()
        ended.clear()
        asker = AioAsker([Address("one", 1)], "program", LIMIT_S)
        task = asyncio.ensure_future(asker.request("get a", LIMIT_S))
        while not begun:
            await asyncio.sleep(0)
        await asker.close()
        assert ended, "an attempt goes on after the client was closed"
        await asyncio.gather(task, return_exceptions=True)

    begun, ended = list[bool](), list[bool]()
    monkeypatch.setattr("raftline.clients.asyncio.asker.reach", reach_late)
    check_interleavings(close_while_connecting, range(10))


@pytest.mark.slow
def test_replies_that_skip_those_who_left_are_found(monkeypatch: Any) -> None:
    monkeypatch.setattr("raftline.clients.asyncio.asker.Link", ByTheOrder)
    assert first_failure(tasks_ask, range(200)) is not None
    assert link.Link is not ByTheOrder
