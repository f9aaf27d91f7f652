"""Simulated clients that subscribe to a channel, at one node after the other."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from ...virtual.nodes.node_connections import Doors, ServingNode, SimulatedConnection
from ...virtual.nodes.simulated_node import Host
from ...virtual.world.chance import up_to
from ...virtual.world.world import World
from ..message_machine import Listening, MessageBeliefs
from ..redis_wire import framed
from .redis_connection import RedisError, read_reply


class Subscriber:
    """A client with one subscription at a time."""

    waiting = None  # it has no request that must be answered

    def __init__(
        self,
        world: World,
        chance: Random,
        name: str,
        hosts: Sequence[Host],
        beliefs: MessageBeliefs,
    ) -> None:
        self.name = name
        self.stopped = False
        self._world = world
        self._chance = chance
        self._hosts = {host.name: host for host in hosts}
        self._beliefs = beliefs
        self._host = hosts[0]
        self._connection: SubscriberConnection | None = None
        self._leaves_ms = 0
        self._wait()

    @property
    def is_through(self) -> bool:
        """Whether it has all messages, in a subscription of now."""
        connection = self._connection
        return connection is not None and self._beliefs.is_current(connection.listening)

    def begin_last_round(self) -> None:
        """Listen until nothing is missing."""

    def knows(self, names: set[str]) -> bool:
        """Whether it knows one of these nodes."""
        return not names.isdisjoint(self._hosts)

    def stop(self) -> None:
        """Hear nothing more."""
        self.stopped = True
        self._leave()

    def _wait(self) -> None:
        self._world.beside(1 + up_to(59, self._chance), self._chance.random(), self._act)

    def _act(self) -> None:
        """Begin again if the connection has ended, or move to another node."""
        if self.stopped:
            return
        self._wait()
        connection = self._connection
        is_over = connection is None or connection.is_over or connection.has_hung_up
        if is_over or self._host.node is None or self._world.now_ms > self._leaves_ms:
            self._leave()
            self._begin()

    def _begin(self) -> None:
        host = self._host = self._chance.choice([*self._hosts.values()])
        if host.node is None or host.paused:
            return
        self._leaves_ms = self._world.now_ms + self._chance.choice([200, 1000, 10_000])
        listening = self._beliefs.begins(self.name, self._world.tick())
        connection = SubscriberConnection(host.requests.doors, host, self, listening)
        host.requests.keep(connection)
        self._connection = connection
        data = framed("SUBSCRIBE", self._beliefs.channel)
        host.beside(0, self._chance.random(), connection.receive, data)

    def _leave(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._host.beside(0, self._chance.random(), connection.hang_up)

    def hear(self, connection: SubscriberConnection, reply: object) -> None:
        """Take the reply to `SUBSCRIBE`, or a message."""
        if connection is not self._connection:
            return
        if reply == ["subscribe", self._beliefs.channel, 1]:
            connection.listening.confirmed_at = self._world.tick()
            self._world.counts["subscriptions confirmed"] += 1
            return
        assert isinstance(reply, list), f"{self.name} gets {reply!r}"
        assert reply[:2] == ["message", self._beliefs.channel], f"{self.name} gets {reply}"
        self._beliefs.hears(connection.listening, reply[2])


class SubscriberConnection(SimulatedConnection):
    """A connection with a subscription."""

    def __init__(
        self, doors: Doors, host: ServingNode, subscriber: Subscriber, listening: Listening
    ) -> None:
        super().__init__(doors, host, lambda connection, line: None)
        self.listening = listening
        self._subscriber = subscriber
        self._unread = b""

    def _hear(self, data: bytes) -> None:
        self._unread += data
        while self._unread:
            try:
                reply, end = read_reply(self._unread, 0)
            except IndexError:
                return  # the rest has not arrived
            except RedisError:
                return  # this node accepts none, and ends the connection
            self._unread = self._unread[end:]
            self._subscriber.hear(self, reply)
