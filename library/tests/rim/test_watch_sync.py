"""`watch.sync()`, step by step: all that was acknowledged before has come, with nothing twice."""

from __future__ import annotations

import re
from collections import deque

import pytest

from raftline.clients.calls.value_codec import TEXT
from raftline.clients.connections.node_connection import NotAllowed
from raftline.clients.requests.addresses import Addresses
from raftline.clients.requests.one_node import Connect, HangUp, NextLine, NodeStep, Rest, Send
from raftline.clients.steps import carry_out
from raftline.clients.watches.watch_events import WatchCursor
from raftline.clients.watches.watch_machine import WatchMachine
from raftline.common.address import Address
from raftline.net.line_connection import ConnectionEnded
from raftline.wire.commands import watch_lines as words

_WATCH = re.compile(r"c(#\d+)?@(watch|unwatch)( [^ ]*?)??(?: after (\d+))?")


class Nodes:
    """Two nodes with one log, and a watch of `a/`. A line that is sent may break the connection."""

    def __init__(self, *, after: int | None = None, breaks_at: str = "", mute: str = "") -> None:
        self.now_s = 0.0
        self.log: list[tuple[int, str, str]] = []  # index, key, value
        self.last = 5
        self.opened = 0
        self.sent: list[str] = []
        self._breaks_at = breaks_at
        self._mute = mute
        self._lines: deque[str | OSError] = deque()
        self._held: deque[str | OSError] = deque()
        self._sent_up_to = 0
        self._has_second = False  # whether the watch with an id runs
        cursor = WatchCursor(TEXT, "a/", after)
        addresses = Addresses([Address("one", 1), Address("two", 2)])
        self.watch = WatchMachine(addresses, "c", cursor, 10.0, lambda: self.now_s)

    def put(self, key: str, value: str) -> None:
        self.last += 1
        self.log.append((self.last, key, value))

    def sync(self, until_s: float | None = None) -> list[str | None] | None:
        is_there = carry_out(self.watch.sync(until_s), self._do)
        return self.taken() if is_there else None

    def taken(self) -> list[str | None]:
        events, self.watch.ready = self.watch.ready, deque()
        return [each.value for each in events]

    def iterate(self) -> None:
        assert carry_out(self.watch.take_line(None), self._do)

    def unmute(self) -> None:
        self._lines += self._held
        self._held.clear()

    def _do(self, step: NodeStep) -> object:
        if isinstance(step, Connect):
            self.opened += 1
            self._lines.clear()
            self._has_second = False
            return step.address
        if isinstance(step, Send):
            self._take(step.line.decode())
        elif isinstance(step, Rest):
            self.now_s += step.seconds
        elif isinstance(step, NextLine):
            return self._read(step.until_s)
        else:
            assert isinstance(step, HangUp)
        return None

    def _read(self, until_s: float) -> bytes:
        line = self._lines.popleft() if self._lines else TimeoutError()
        self.now_s = until_s if isinstance(line, TimeoutError) else self.now_s + 0.1
        if isinstance(line, OSError):
            raise line
        return line.encode()

    def _take(self, line: str) -> None:
        self.sent.append(line)
        if line == self._breaks_at:
            self._breaks_at = ""
            self._has_second = False
            self._lines.append(ConnectionEnded())
            return
        before = len(self._lines)
        self._answer(line)
        if line == self._mute:
            self._mute = ""
            while len(self._lines) > before:
                self._held.appendleft(self._lines.pop())

    def _answer(self, line: str) -> None:
        found = _WATCH.fullmatch(line)
        assert found is not None, line
        number, verb, _, after = found.groups("")
        if number:
            assert self._has_second is (verb == "unwatch"), "a node refuses that"
            self._has_second = verb == "watch"
            text = words.begins(0, self.last) if verb == "watch" else words.ended(self.last)
        elif verb == "unwatch":
            self._push()
            text = words.ended(self.last)
        else:
            self._sent_up_to = int(after) if after else self.last
            text = words.goes_on(int(after)) if after else words.begins(0, self.last)
        self._lines.append(f"s1{number}@{text}")
        if verb == "watch" and not number:
            self._push()

    def _push(self) -> None:
        for index, key, value in self.log:
            if index > self._sent_up_to and key.startswith("a/"):
                self._lines.append(f"s1@{words.event(index, 'set', key, value)}")
        self._sent_up_to = self.last


def test_it_returns_at_once_if_nothing_matched_since() -> None:
    """By itself, a node reports that only every ten seconds."""
    nodes = Nodes()
    assert nodes.sync() == []
    for number in range(80):
        nodes.put("b/x", str(number))
    assert nodes.sync() == []
    assert nodes.watch.cursor.position == 85
    assert nodes.now_s < 2
    assert nodes.sent[-1] == "c@watch a/ after 85"
    nodes.put("a/x", "1")
    assert nodes.sync() == ["1"]


def test_it_returns_what_was_not_taken_yet() -> None:
    nodes = Nodes(after=5)
    nodes.put("a/x", "1")
    nodes.iterate()
    nodes.iterate()
    nodes.put("a/y", "2")
    assert nodes.sync() == ["1", "2"]


@pytest.mark.parametrize(
    "line",
    ["c#3@watch a/raftline/sync", "c#3@unwatch", "c@unwatch", "c@watch a/ after 5", "c@watch a/"],
)
def test_connection_breaking_amid_a_sync_keeps_each_event_once(line: str) -> None:
    """If the connection breaks during a sync, no event is lost or repeated."""
    nodes = Nodes(after=5 if "after" in line else None, breaks_at=line)
    first = nodes.sync()
    nodes.put("a/x", "1")
    nodes.put("b/x", "2")
    nodes.put("a/y", "3")
    assert [*(first or []), *(nodes.sync() or [])] == ["1", "3"]
    nodes.put("a/z", "4")
    assert nodes.sync() == ["4"]
    assert nodes.opened == 2


@pytest.mark.parametrize("line", ["c#3@watch a/raftline/sync", "c@unwatch"])
def test_after_a_time_that_was_too_short_the_watch_continues(line: str) -> None:
    nodes = Nodes(mute=line)
    nodes.iterate()
    nodes.put("b/x", "1")
    assert nodes.sync(until_s=1.0) is None
    nodes.unmute()
    nodes.put("a/x", "2")
    assert nodes.sync() == ["2"]


def test_answer_to_an_abandoned_sync_does_not_count() -> None:
    """The reply to an earlier sync that timed out does not count."""
    nodes = Nodes(mute="c#3@watch a/raftline/sync")
    nodes.iterate()
    assert nodes.sync(until_s=1.0) is None
    nodes.unmute()
    nodes.put("a/x", "1")
    assert nodes.sync() == ["1"]
    assert nodes.opened == 1


def test_a_closed_watch_has_nothing_to_wait_for() -> None:
    nodes = Nodes()
    nodes.watch.is_closed = True
    assert nodes.sync() is None


def test_who_may_not_watch_is_refused() -> None:
    nodes = Nodes()
    nodes.iterate()
    nodes._lines.append("s1#3@Sorry, bob may not watch a/: it takes the role admin there.")
    with pytest.raises(NotAllowed, match="bob may not watch"):
        nodes.sync()
