"""The builds that simulated nodes announce to each other, as real ones do first on a connection.

Whenever a node starts, stops, continues or learns its identity, and whenever a link is cut or
mended, connections end and begin. On each, the shipped question and its answer are lines, which the
network loses like messages.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from raftline.common.identities import Build
from raftline.net.peers import peers
from raftline.net.peers.build_exchange import BuildQuestion, Builds, answer_to_build
from raftline.raft.inputs import PeerBuild

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
        self._losing = random.Random(f"announcements lost of {seed}")
        self._open: dict[tuple[str, str], _Connection] = {}
        links.on_change = self._plan
        for host in hosts:
            host.on_change = self._plan

    def _plan(self) -> None:
        if not self._is_planned:
            self._is_planned = True
            delay_ms = self._chance.randint(0, self._longest_ms)
            self._world.beside(delay_ms, self._chance.random(), self._look)

    def _look(self) -> None:
        self._is_planned = False
        for host in self._hosts:
            if host.node is not None and not host.is_at_floor:
                self._connect(host)

    def _connect(self, host: Host) -> None:
        """End the connections that can't stand, and make those that can."""
        for other in self._hosts:
            if other is host or host.node is None or other.paused:
                continue  # a paused node answers later
            pair = host.name, other.name
            connection = self._open.get(pair)
            if connection is not None and not connection.is_current:
                connection = None
            stands = other.node is not None and self._links.are_linked(*pair)
            if connection is not None and stands:
                self._send(connection, connection.question.next_line(host.name))
                if connection.question.is_foreign:
                    connection.question.forget()
            elif connection is not None or stands:
                if self._chance.random() < 0.3:  # one connection takes longer than another
                    self._plan()
                elif connection is not None:
                    del self._open[pair]
                    connection.question.forget()
                else:
                    connection = self._open[pair] = _Connection(host, other)
                    self._send(connection, connection.question.first_line(host.name))

    def _send(self, connection: _Connection, question: bytes) -> None:
        """Carry a question and its answer, unless one of them is lost."""
        if not question:
            return
        other = connection.other
        answers = other.node is not None and not other.paused
        if self._carries() and answers and self._carries():
            connection.question.take(connection.answer())
        if connection.question.line_again(connection.host.name):
            again_ms = round(1000 * peers.ASK_AGAIN_S)
            self._world.beside(again_ms, self._losing.random(), self._ask_again, connection)

    def _carries(self) -> bool:
        is_lost = self._losing.random() < self._links.loss
        self._world.counts["announcements lost"] += is_lost
        return not is_lost

    def _ask_again(self, connection: _Connection) -> None:
        host, other = connection.host, connection.other
        if self._open.get((host.name, other.name)) is connection and connection.is_current:
            self._world.counts["builds asked for again"] += 1
            self._send(connection, connection.question.line_again(host.name))


class _Connection:
    """A connection from a node to another one, between this start of the first and its end."""

    def __init__(self, host: Host, other: Host) -> None:
        self.host, self.other = host, other
        self._start, self._was_at_floor = host.incarnation, other.is_at_floor
        place = host.members.get(other.name, "nowhere")
        self.question = BuildQuestion(other.name, self._record, host.foreigners, place)
        self._builds = Builds(self._tell)

    @property
    def is_current(self) -> bool:
        """Whether the node that asks has not died, nor the other one changed its build."""
        now = (self.host.incarnation, self.other.is_at_floor)
        return (self._start, self._was_at_floor) == now

    def answer(self) -> str:
        """Return the answer of the other node's build."""
        if self.other.is_at_floor:
            return "Sorry, I don't understand: Level. Try: get KEY"
        return answer_to_build(self.other.cluster, "simulated", has_parts=False)

    def _record(self, name: str, build: Build | None, teller: object) -> None:
        self._builds.record(name, build, teller)

    def _tell(self, name: str, build: Build) -> None:
        if self.host.incarnation == self._start:
            applies = build.applies if build.is_heard else None
            self.host.take(PeerBuild(name, applies, build.is_at_floor))
