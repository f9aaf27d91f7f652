"""A watch, step by step, by a clock of the test: no socket, thread or task."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from raftline.clients.calls.kv_errors import TooManyWatches
from raftline.clients.calls.value_codec import TEXT
from raftline.clients.connections.node_connection import NoLeader, Refused, Unreachable
from raftline.clients.requests.addresses import Addresses
from raftline.clients.requests.health import LOST_S, SILENCE_S, ClientHealth
from raftline.clients.requests.one_node import Connect, HangUp, NextLine, NodeStep, Rest, Send
from raftline.clients.steps import carry_out
from raftline.clients.watches.liveness import PROBE_PART
from raftline.clients.watches.watch_events import WatchCursor
from raftline.clients.watches.watch_machine import WatchMachine
from raftline.common.address import Address
from raftline.common.identities import continuing
from raftline.net.line_connection import ConnectionEnded
from raftline.wire.commands import watch_lines as words
from raftline.wire.refusal import NO_LEADER, OTHER_CLUSTER

S1, S2 = Address("one", 1), Address("two", 2)
Line = str | OSError


class World:
    """Nodes that send what the test has for each connection, and a clock."""

    def __init__(
        self,
        serve: Callable[[str], list[Line]],
        silence_s: float = SILENCE_S,
        prefix: str | None = None,
    ) -> None:
        """`serve` returns what comes on a connection after its line for a watch; "" is a pause of
        a second. After it nothing comes any more."""
        self.now_s = 0.0
        self.opened: list[Address] = []
        self.reached: Address | None = None  # whoever is to be reached
        self.sent: list[str] = []
        self._serve = serve
        self._lines: list[Line] = []
        cursor = WatchCursor(TEXT, prefix, None)
        self.health = ClientHealth(silence_s)
        addresses = Addresses([S1, S2], health=self.health)
        self.watch = WatchMachine(addresses, "c", cursor, 10.0, lambda: self.now_s)

    def take(self, until_s: float | None = None) -> bool:
        return carry_out(self.watch.take_line(until_s), self._do)

    def values(self, count: int) -> list[str | None]:
        """Return the values of the next events."""
        while len(self.watch.ready) < count:
            assert self.take()
        return [self.watch.ready.popleft().value for _ in range(count)]

    def _do(self, step: NodeStep) -> object:
        if isinstance(step, Connect):
            reached = self.reached or step.address
            self.opened.append(reached)
            return reached
        if isinstance(step, Send):
            self.sent.append(step.line.decode().partition("@")[2])
            if self.sent[-1].startswith("watch"):
                self._lines = self._serve(self.sent[-1])
        elif isinstance(step, Rest):
            self.now_s += step.seconds
        elif isinstance(step, NextLine):
            return self._read(step.until_s)
        else:
            assert isinstance(step, HangUp)
            self._lines = []
        return None

    def _read(self, until_s: float) -> bytes:
        line = self._lines.pop(0) if self._lines else TimeoutError()
        self.now_s = until_s if isinstance(line, TimeoutError) else self.now_s + 1
        if isinstance(line, OSError):
            raise line
        return f"s1@{line}".encode()


def test_watch_continues_at_the_next_node_after_what_came_whole() -> None:
    rounds = itertools.count()

    def serve(line: str) -> list[Line]:
        if not next(rounds):
            has = words.has(5, "a", "5")
            return [words.begins(1, 5), has, words.event(6, "set", "a", "6"), ConnectionEnded()]
        return [words.goes_on(5), words.event(6, "set", "a", "6"), words.event(7, "set", "a", "7")]

    world = World(serve)
    assert world.values(3) == ["5", "6", "7"]
    assert world.sent == ["watch", "watch after 5"]
    assert set(world.opened) == {S1, S2}


def test_a_watch_continues_from_the_node_that_was_reached() -> None:
    world = World(lambda _: [words.begins(0, 5), ConnectionEnded()])
    first = world.watch._nodes.current
    world.reached = S1 if first == S2 else S2
    world.take()
    assert world.watch._nodes.current == world.reached
    second, world.reached = world.reached, None
    while not world.opened[1:]:
        world.take()
    assert world.opened == [second, first]


def test_silence_before_a_watch_was_served_ends_no_cluster() -> None:
    """The first node was silent, the second served, and then turned out to be recovered: the first
    may be back."""
    mine, rounds = "9f86d081884c7d65", itertools.count()

    def serve(line: str) -> list[Line]:
        match next(rounds):
            case 0:
                return [ConnectionEnded()]
            case 1:
                ended = OTHER_CLUSTER(continuing(mine), mine).coded
                return [words.begins(1, 5), words.has(5, "a", "5"), ended]
        return [words.goes_on(5), words.event(6, "set", "a", "6")]

    world = World(serve)
    world.watch._nodes.addresses.cluster = mine
    assert world.values(2) == ["5", "6"]
    assert world.opened == [world.opened[0], world.opened[1], world.opened[0]]


@pytest.mark.parametrize("silence_s", [SILENCE_S, 1, 300])
def test_silent_node_is_left_and_so_is_one_that_is_cut_off(silence_s: float) -> None:
    """A watch leaves a node that sends nothing, and one that is cut off from the others."""

    def serve(line: str) -> list[Line]:
        begins = [words.begins(0, 5), *["EVENT 5"] * cut_off_s]  # one a second
        return list(begins) if not world.opened[1:] else [words.begins(0, 5)]

    silent_s, confirmed_s = silence_s, (1 + PROBE_PART) * silence_s
    for cut_off_s, at_s in ((0, 1 + silent_s), (1000, 1 + confirmed_s)):
        world = World(serve, silence_s)
        while not world.opened[1:]:
            world.take()
        assert at_s <= world.now_s <= at_s + 2, (cut_off_s, world.now_s)
        assert len(set(world.opened)) == 2


def test_probe_uses_a_key_that_watchers_may_read() -> None:
    """A user with rights for one prefix may not read any other key, and a refusal would end the
    watch."""
    for prefix, key in (("app/", "app/raftline/watch"), (None, "raftline/watch")):
        world = World(lambda _: [words.begins(0, 5), *["EVENT 5"] * 1000], prefix=prefix)
        while not world.opened[1:]:
            world.take()
        assert f"get {key} read index" in world.sent


def test_unserved_watch_times_out_and_a_served_one_does_not() -> None:
    """A watch that no node serves times out; one that has been served does not."""
    world = World(lambda _: [NO_LEADER])
    with pytest.raises(NoLeader, match="I know of no leader"):
        world.values(1)
    assert 10 <= world.now_s <= 13
    world = World(lambda _: [ConnectionEnded()])
    with pytest.raises(Unreachable, match="no node serves it at one port 1; two port 2"):
        world.values(1)
    rounds = itertools.count()
    world = World(
        lambda _: [words.begins(0, 5)] if next(rounds) in (0, 50) else [ConnectionEnded()]
    )
    while len(world.opened) < 51:
        assert world.take()
    assert world.now_s > 40


def test_a_watch_that_no_node_has_room_for_ends_at_once() -> None:
    world = World(lambda _: [words.too_many(6, of_user=True)])
    with pytest.raises(TooManyWatches, match="6 watches of one user") as raised:
        world.values(1)
    assert (raised.value.code, world.now_s < 4) == ("too-many", True)
    assert set(world.opened) == {S1, S2}


def test_full_node_is_named_rather_than_one_that_is_down() -> None:
    """If one node is full and another is down, the error names the full one."""
    world = World(lambda _: [words.too_many(6) if world.opened[-1] == S1 else ConnectionEnded()])
    with pytest.raises(TooManyWatches):
        world.values(1)


def test_a_watch_leaves_a_first_node_that_hangs_within_its_time() -> None:
    opened = itertools.count()
    world = World(lambda _: [words.begins(1, 5), words.has(5, "a", "1")] if next(opened) else [])
    assert world.values(1) == ["1"]
    assert 1.25 <= world.now_s < 4
    assert len(set(world.opened)) == 2
    world = World(lambda _: [])
    with pytest.raises(Unreachable, match=r"no node serves it at .* no answer within [0-9.]+ s"):
        world.values(1)
    assert 10 <= world.now_s <= 11


def test_unserved_watch_suspends_its_client() -> None:
    """If no node serves a watch, its client is suspended until one does."""
    rounds = itertools.count()
    world = World(
        lambda _: [words.begins(0, 5)] if next(rounds) in (0, 40) else [ConnectionEnded()]
    )
    seen: list[tuple[str, int]] = []
    world.health.on_change = lambda state: seen.append((state, len(world.opened)))
    while len(world.opened) < 41 or not world.take():
        assert world.take()
    assert seen[:2] == [("connected", 1), ("suspended", 2)]
    assert seen[2][0] == "lost"
    assert seen[3:] == [("connected", 41)]
    assert world.now_s > LOST_S


def test_refusal_that_each_node_would_give_ends_the_watch() -> None:
    """A refusal that every node would give ends the watch at once."""
    world = World(lambda _: ["Sorry, a prefix is at most 1024 bytes. Nothing was done."])
    world.watch.cursor = WatchCursor(TEXT, "a", 7)
    with pytest.raises(Refused, match="a prefix is at most"):
        world.take()
    assert len(world.opened) == 1


def test_a_wait_ends_at_its_time_and_a_closed_watch_at_once() -> None:
    world = World(lambda _: [words.begins(0, 5)])
    assert world.take(100.0)
    assert not world.take(3.0)
    assert world.now_s == 3.0
    world = World(lambda _: [ConnectionEnded()])
    assert not world.take(0.07)
    assert world.now_s <= 1.07
    world.watch.is_closed = True
    assert not world.take()
