"""Watches: the keys that there were, then each event once, in order, without a gap."""

from __future__ import annotations

import threading
from typing import Any

from raftline.net.connections import outgoing
from raftline.net.connections.outgoing import Outgoing
from raftline.net.protocol import outgoing_protocol
from raftline.node.watches import watch_feed, watch_listing
from raftline.node.watches import watch_registry as watchers
from raftline.wire.commands.watch_lines import WatchAsked
from raftline_testing.doubles.fake_host import FakeHost
from raftline_testing.interleave.scenarios import check_interleavings, seeds
from raftline_testing.interleave.wires import connected
from tests.interleave.driven_watches import COMMANDS, DrivenWatches, settle

LINES = (watch_feed, watchers, outgoing, outgoing_protocol, watch_listing)
ROOM = 40  # bytes that are on their way to a client: an event or two


def states() -> list[dict[str, str]]:
    """Return the pairs after each entry, from the first one on."""
    now: dict[str, str] = {}
    found = [now]
    for command in COMMANDS:
        verb, key, *value = command.split()
        now = {one: had for one, had in now.items() if one != key}
        if verb == "set":
            now[key] = value[0]
        found.append(now)
    return found


class Client:
    """Watches a prefix on its connection, and takes its time to read."""

    def __init__(self, scene: DrivenWatches, prefix: str, *, ends: bool = False) -> None:
        near: Any
        near, self.far = connected(ROOM)
        host: Any = FakeHost()
        self.out = Outgoing(host, near)
        self._scene, self.prefix, self._ends = scene, prefix, ends
        self.received = b""
        self.first_line = self.last_line = ""
        self.threads = [threading.Thread(target=run) for run in (self._serve, self._read)]

    def _serve(self) -> None:
        watchers, out = self._scene.watchers, self.out
        [[self.first_line]] = watchers.open(out, [("", WatchAsked(self.prefix))])
        out.pump()
        if self._ends:
            self.last_line = watchers.unwatch(out, "")

    def _read(self) -> None:
        while data := self.far.recv(9):
            self.received += data

    @property
    def is_settled(self) -> bool:
        out = self.out
        return not (out._is_stuck or out._backlogs or out._coming)

    def check(self) -> None:
        """The events are those of the log from the listing on."""
        count, number = self.first_line.split()[2::4]
        lines = [line.removeprefix("s1@") for line in self.received.decode().splitlines()]
        at, there = int(number), states()
        begun = {key: value for key, value in there[at - 1].items() if key.startswith(self.prefix)}
        has = [f"EVENT {at} has {key} {begun[key]}" for key in sorted(begun)]
        assert int(count) == len(has)
        log = [
            f"EVENT {place} {command}"
            for place, command in enumerate(COMMANDS, start=2)
            if place > at and command.split()[1].startswith(self.prefix)
        ]
        expected, events = [*has, *log], [line for line in lines if line.startswith("EVENT ")]
        if self._ends:
            assert events == expected[: len(events)], (events, expected)
            if "ended after" in self.last_line:
                until = int(self.last_line.split()[-1])
                due = [line for line in expected if int(line.split()[1]) <= until]
                assert events == due, (events, self.last_line)
        else:
            assert events == expected, (events, expected)


def clients_watch() -> None:
    scene = DrivenWatches()
    clients = [Client(scene, ""), Client(scene, "a"), Client(scene, "", ends=True)]
    owner = threading.Thread(target=scene.keep_time, name="owner")
    work = [threading.Thread(target=scene.drive, name=name) for name in ("driver", "writer")]
    serving = [client.threads[0] for client in clients]
    for thread in (owner, *serving, *work, *(client.threads[1] for client in clients)):
        thread.start()
    for thread in (*serving, *work):
        thread.join()
    settle(scene, *clients)
    scene.has_stopped = True
    scene.is_woken.set()
    for client in clients:
        client.far.incoming.is_ended = True
        client.threads[1].join()
        client.check()


def a_watch_ends_as_an_event_comes() -> None:
    """Nobody does anything after that."""
    scene = DrivenWatches()
    clients = [Client(scene, ""), Client(scene, "", ends=True)]
    del scene.left[1:]
    owner = threading.Thread(target=scene.keep_time, name="owner")
    for thread in (owner, *(client.threads[1] for client in clients)):
        thread.start()
    serving = [client.threads[0] for client in clients]
    serving[0].start()
    serving[0].join()
    last = threading.Thread(target=scene.drive, name="driver")
    for thread in (serving[1], last):
        thread.start()
    for thread in (serving[1], last):
        thread.join()
    settle(scene, *clients)


@seeds(40, 8_000)
def test_each_event_comes_once_in_order_after_the_keys(seeds: range) -> None:
    check_interleavings(clients_watch, seeds, LINES)


@seeds(80, 20_000)
def test_event_meeting_the_end_of_another_watch_is_sent(seeds: range) -> None:
    """An event that arrives while another watch ends is still sent."""
    check_interleavings(a_watch_ends_as_an_event_comes, seeds, LINES)
