"""A watch of asyncio: each event once, in order, whatever breaks or stops waiting."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
from library.tests.interleave.aio_node import Connection, Node

from raftline.clients.asyncio.asker import AioAsker
from raftline.clients.calls.value_codec import TEXT
from raftline.clients.connections.node_connection import ClientError
from raftline.clients.watches.aio_watch import AioWatch
from raftline.clients.watches.watch_events import Event, WatchCursor
from raftline.common.address import Address
from raftline.wire.commands import watch_lines as words
from raftline_testing.interleave.scenarios import check_interleavings, first_failure, seeds

CHANGES = 6
FIRST = 5  # the entry that set the one key that there is


class Serving(Connection):
    """Serves one watch: the key, then each change; or the changes after an entry."""

    async def serve(self, line: str) -> None:
        node: Any = self.node
        command = line.partition("@")[2]
        if not command.startswith("watch"):
            await super().serve(line)
            return
        asked = words.watch_operands(command)
        sent = node.last if asked.after is None else asked.after
        if asked.after is None:
            has = words.has(sent, "a", str(sent))
            await self.send(f"s1@{words.begins(1, sent)}\ns1@{has}\n")
        else:
            await self.send(f"s1@{words.goes_on(sent)}\n")
        while True:
            while sent < node.last:
                sent += 1
                await self.send(f"s1@{words.event(sent, 'set', 'a', str(sent))}\n")
            await asyncio.sleep(0.3)


class WatchedNode(Node):
    """A node whose key `a` has the number of the entry that set it last."""

    last = FIRST

    def connection(self, protocol: Any) -> Connection:
        return Serving(self, protocol)


async def it_is_followed(kind: type[WatchCursor[str]] = WatchCursor) -> None:
    """One task changes the key, another takes the events, and waits a short time for each."""
    loop: Any = asyncio.get_running_loop()
    node = WatchedNode(loop, lambda *_: "Sorry, not here. Nothing was done.")
    asker = AioAsker([Address("one", 1), Address("two", 2)], "program", 10.0)
    watch = AioWatch(asker, kind(TEXT, None, None), 10.0)
    numbers: list[int] = []

    async def change() -> None:
        for _ in range(CHANGES):
            await asyncio.sleep(loop.chance.choice((0.0, 0.2, 1.0)))
            node.last += 1

    async def follow() -> None:
        while not numbers or numbers[-1] < FIRST + CHANGES:
            try:
                event = await asyncio.wait_for(watch.next_event(), loop.chance.choice((0.1, 5.0)))
            except asyncio.TimeoutError:
                continue
            assert event is not None
            assert event.value == str(event.index)
            numbers.append(event.index)

    try:
        await asyncio.gather(change(), follow())
    except ClientError:
        assert numbers == [], "a watch that was served is not given up"
        return
    assert numbers == list(range(numbers[0], FIRST + CHANGES + 1)), numbers
    watch.close()
    await asyncio.sleep(0.1)
    assert node.open == [], "a connection stays open"


class Twice(WatchCursor[str]):
    """Forgets on a new connection which events of an entry were returned."""

    def _changed(self, *event: Any) -> list[Event[str]]:
        self._count = 0
        return super()._changed(*event)


@seeds(60, 20_000)
def test_each_event_comes_once_and_in_order(seeds: range) -> None:
    check_interleavings(it_is_followed, seeds)


@pytest.mark.slow
def test_a_watch_that_returns_an_event_twice_is_found() -> None:
    assert first_failure(partial(it_is_followed, Twice), range(100)) is not None
