"""The builds that simulated nodes announce to each other, as real ones do first on a connection.

Whenever a node starts, stops, continues or learns its identity, and whenever a link is cut or
mended, connections end and begin. On each, the shipped question and its answer travel as lines,
which the network delays and loses like messages.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from raftline.common.build_level import LEVEL, Build
from raftline.net.peers import peers
from raftline.net.peers.level_exchange import Builds, LevelQuestion, answer_to_level
from raftline.raft.inputs import PeerLevel
from raftline.raft.levels import FLOOR

from ..nodes.simulated_node import Host
from ..world.network import Links
from ..world.world import World


class Announcements:
    """The connections on which a node above the floor asks for the build of another one, while both
    are up and reach each other."""

    def __init__(
        self, world: World, links: Links, hosts: Sequence[Host], seed: int, longest_ms: int
    ) -> None:
        self._world = world
        self._links = links
        self._hosts = hosts
        self._chance = random.Random(f"announcements of {seed}")
        self._longest_ms = longest_ms
        self._is_planned = False
        self._open: dict[tuple[str, str], _Connection] = {}
        links.on_change = self._plan
        for host in hosts:
            host.on_change = self._plan

    def _plan(self) -> None:
        if not self._is_planned:
            self._is_planned = True
            self._beside(self._look)

    def _beside(self, act: object, *values: object, least_ms: int = 0) -> None:
        delay_ms = least_ms or self._chance.randint(0, self._longest_ms)
        self._world.beside(delay_ms, self._chance.random(), act, *values)  # type: ignore[arg-type]

    def _look(self) -> None:
        """End the connections that can't stand, and make those that can."""
        self._is_planned = False
        for host in self._hosts:
            for other in self._hosts:
                if other is not host:
                    self._connect(host, other)

    def _connect(self, host: Host, other: Host) -> None:
        pair = host.name, other.name
        stands = host.node is not None and other.node is not None and host.build_level > FLOOR
        open_one = self._open.get(pair)
        if open_one is not None:
            if stands and self._links.are_linked(*pair) and open_one.is_current:
                self._send(open_one, open_one.question.next_line(host.name))
                if open_one.question.is_foreign:
                    open_one.question.forget()
                return
            del self._open[pair]
            open_one.question.forget()
        if stands and self._links.are_linked(*pair):
            connection = self._open[pair] = _Connection(host, other)
            self._send(connection, connection.question.first_line(host.name))
            self._beside(self._ask_again, connection, least_ms=round(1000 * peers.ASK_AGAIN_S))

    def _ask_again(self, connection: _Connection) -> None:
        line = connection.question.line_again(connection.host.name)
        if line and self._stands(connection):
            self._world.counts["builds asked for again"] += 1
            self._send(connection, line)
            self._beside(self._ask_again, connection, least_ms=round(1000 * peers.ASK_AGAIN_S))

    def _send(self, connection: _Connection, question: bytes) -> None:
        if question and self._carries():
            self._beside(self._arrive, connection)

    def _carries(self) -> bool:
        is_lost = self._chance.random() < self._links.loss
        self._world.counts["announcements lost"] += is_lost
        return not is_lost

    def _stands(self, connection: _Connection) -> bool:
        pair = connection.host.name, connection.other.name
        return self._open.get(pair) is connection and connection.is_current

    def _arrive(self, connection: _Connection) -> None:
        """Make the other node answer; a paused one does once it continues."""
        if self._stands(connection):
            connection.other.when_up(lambda: self._answer(connection))

    def _answer(self, connection: _Connection) -> None:
        if self._carries():
            self._beside(self._take, connection, connection.answer())

    def _take(self, connection: _Connection, text: str) -> None:
        if self._stands(connection):
            connection.question.take(text)
            if connection.question.is_foreign:
                connection.question.forget()


class _Connection:
    """A connection from a node to another one, between these starts of both."""

    def __init__(self, host: Host, other: Host) -> None:
        self.host, self.other = host, other
        self._starts = host.incarnation, other.incarnation
        place = host.members.get(other.name, "nowhere")
        self.question = LevelQuestion(other.name, self._record, host.foreigners, place)
        self._builds = Builds(self._tell)

    @property
    def is_current(self) -> bool:
        """Whether no end of it has died."""
        return self._starts == (self.host.incarnation, self.other.incarnation)

    def answer(self) -> str:
        """Return the answer of the other node's build."""
        level = self.other.build_level
        if level <= FLOOR:
            return "Sorry, I don't understand: Level. Try: get KEY"
        line = answer_to_level(self.other.cluster, "simulated", has_parts=False)
        return line.replace(f"Level {LEVEL} ", f"Level {level} ", 1)

    def _record(self, name: str, build: Build | None, teller: object) -> None:
        self._builds.record(name, build, teller)

    def _tell(self, name: str, level: int, applies: frozenset[str]) -> None:
        if self.host.incarnation == self._starts[0]:
            self.host.take(PeerLevel(name, level, applies))
