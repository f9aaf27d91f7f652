"""Watches over the connections of simulated nodes: clients that read each line, slowly or at once,
and resume elsewhere.

Each event must arrive once, in order, without a gap: it is compared with the events that the nodes
had when they applied the entries.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random

from raftline.wire.commands import watch_lines as words
from raftline.wire.key_stat import value_of
from raftline.wire.protocol import split_sender

from ...invariants import InvariantError
from ..nodes.node_connections import Doors, SimulatedConnection
from ..nodes.node_events import Watching
from ..nodes.request_interface import Asked
from ..nodes.simulated_node import Host
from ..world.chance import up_to
from ..world.world import World

BEGINS = re.compile(r"WATCH response: ([0-9]+) keys? as of ([0-9]+)")
HAS = re.compile(r"EVENT ([0-9]+) has (\S+) (.*)")
ENDED = re.compile(r"Sorry, .*\. Go on with: watch(?: \S+)? after ([0-9]+)")
AMID_KEYS = re.compile(r"Sorry, .*\. Begin with: watch(?: \S+)?")
ANEW = re.compile(r"Sorry, .* begins anew with what there is\.")
WINDOWS = (None, 60, 300, 3000)  # bytes that wait for a reader


class WatchClient:
    """A watch that moves between the nodes."""

    def __init__(
        self, world: World, chance: Random, name: str, hosts: Sequence[Host], watching: Watching
    ) -> None:
        self.stopped = False
        self._name = name
        self._world = world
        self._chance = chance
        self._hosts = hosts
        self._watching = watching
        self._prefix = chance.choice(["", "", "a", "talker"])
        self._host = hosts[0]
        self._connection: WatchConnection | None = None
        self._number = 0  # of the watch: its id
        # all events up to this entry have arrived; None: not even the keys
        self._position: int | None = None
        self._place = 0  # index in all events: earlier ones have arrived, or aren't needed
        self._left = 0  # keys that are still missing
        self._keys: dict[str, str] = {}
        self._base = 0
        self._expected: dict[str, str] | None = None
        self._leaves_ms = 0
        self._wait()

    def stop(self) -> None:
        """Stop watching."""
        self.stopped = True
        self._leave()

    def _wait(self) -> None:
        self._world.beside(1 + up_to(59, self._chance), self._chance.random(), self._act)

    def _act(self) -> None:
        """Read the received bytes, begin again, or move to another node."""
        if self.stopped:
            return
        self._wait()
        connection = self._connection
        if connection is None or connection.is_over or self._host.node is None:
            self._begin()
        elif self._world.now_ms > self._leaves_ms:
            self._leave()
        elif connection.held:
            size = self._chance.randint(1, connection.held)
            self._host.beside(0, self._chance.random(), connection.take, size)

    def _begin(self) -> None:
        self._leave()
        host = self._host = self._chance.choice(self._hosts)
        if host.node is None or host.paused:
            return
        self._number += 1
        self._leaves_ms = self._world.now_ms + self._chance.choice([200, 1000, 10_000])
        connection = self._connected(host)
        connection.window = self._chance.choice(WINDOWS)
        host.requests.keep(connection)
        self._connection = connection
        if self._position is None:
            self._left = -1  # the first line is still missing
        asked = words.format_watch(words.WatchAsked(self._prefix, self._position))
        line = f"{self._name}#{self._number}@{asked}\n"
        host.beside(0, self._chance.random(), connection.receive, line.encode())

    def _connected(self, host: Host) -> WatchConnection:
        return WatchConnection(host.requests.doors, host, self)

    def _leave(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            if self._left:  # the keys are incomplete
                self._position = None
            self._host.beside(0, self._chance.random(), connection.hang_up)

    # --- lines -----------------------------------------------------------------------------------

    def hear(self, connection: WatchConnection, line: str, held: dict[str, str] | None) -> None:
        """Take a line; `held` is the node's state when it made the first one."""
        if connection is not self._connection:
            return
        _, number, text = split_sender(line)
        if number != str(self._number):
            raise InvariantError(f"{self._name} watches under {self._number}, and gets {line!r}")
        if text.startswith("EVENT "):
            self._take_event(text)
        elif match := BEGINS.fullmatch(text):
            self._world.counts["watches over lines that began"] += 1
            self._left, self._base, self._keys = int(match[1]), int(match[2]), {}
            self._expected = held
            self._position = None
            self._have_keys()
        elif text == words.goes_on(self._position or 0):
            self._world.counts["watches over lines that went on"] += 1
            self._find_place()
        elif ANEW.fullmatch(text):
            self._position, self._left = None, -1
        elif match := ENDED.fullmatch(text):
            self._pass(int(match[1]))
            self._leave()
        elif AMID_KEYS.fullmatch(text):
            self._position, self._left = None, -1
            self._leave()
        elif text.startswith("Sorry, "):  # not at this node
            self._leave()
        else:
            raise InvariantError(f"{self._name} at {self._position} gets {text!r}")

    def _take_event(self, text: str) -> None:
        if match := HAS.fullmatch(text):
            if self._left <= 0 or int(match[1]) != self._base:
                raise InvariantError(f"{self._name} gets {text!r} after the keys")
            self._keys[match[2]] = match[3]
            self._left -= 1
            self._have_keys()
        elif self._left or self._position is None:
            raise InvariantError(f"{self._name} gets {text!r} among the keys")
        elif text.count(" ") == 1:
            self._pass(int(text.partition(" ")[2]))
        else:
            self._skip()
            order = self._watching.order
            if self._place == len(order) or words.event(*order[self._place]) != text:
                raise InvariantError(
                    f"{self._name} gets {text!r}, and not {order[self._place :][:1]}"
                )
            self._position = order[self._place][0] - 1  # there may be more of this entry
            self._place += 1
            self._world.counts["events over lines"] += 1

    def _have_keys(self) -> None:
        """Check the keys once all have arrived."""
        if self._left:
            return
        self._position = self._base
        self._find_place()
        if self._expected is not None and self._keys != self._expected:
            raise InvariantError(f"{self._name} gets {self._keys}, and {self._expected} is there")

    def _pass(self, number: int) -> None:
        """Record that all events up to this entry have arrived."""
        self._skip()
        order = self._watching.order
        if self._place < len(order) and order[self._place][0] <= number:
            raise InvariantError(f"{self._name} is at {number} without {order[self._place]}")
        if self._position is not None:
            self._position = max(self._position, number)

    def _find_place(self) -> None:
        """Find the first event after the position."""
        order = self._watching.order
        self._place = len(order)
        while self._place and order[self._place - 1][0] > (self._position or 0):
            self._place -= 1

    def _skip(self) -> None:
        """Skip the events that don't match."""
        order, prefix = self._watching.order, self._prefix
        while self._place < len(order) and not order[self._place][2].startswith(prefix):
            self._place += 1


class LinesHeard(SimulatedConnection):
    """A connection whose client gets each line unchanged."""

    def __init__(self, host: Host, heard: Callable[[str], None]) -> None:
        super().__init__(host.requests.doors, host, self._line_left)
        self._heard = heard
        host.requests.keep(self)

    def _line_left(self, _: SimulatedConnection, line: str) -> None:
        def heard(_: str | None) -> None:
            self._heard(line)

        self._sim.note_reply(self, Asked(None, "", heard))


class WatchConnection(SimulatedConnection):
    """The connection of one watch."""

    def __init__(self, doors: Doors, host: Host, client: WatchClient) -> None:
        super().__init__(doors, host, self._line_left)
        self._client = client

    def _line_left(self, _: SimulatedConnection, line: str) -> None:
        held = None
        if match := BEGINS.search(line):
            host, prefix = self._sim, self._client._prefix
            if host.stepper.watchers.feed.history.last == int(match[2]):
                pairs = host.manager.store.held.items()
                held = {key: value_of(one) for key, one in pairs if key.startswith(prefix)}

        def heard(_: str | None) -> None:
            self._client.hear(self, line, held)

        self._sim.note_reply(self, Asked(None, "", heard))
