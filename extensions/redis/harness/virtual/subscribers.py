"""Simulated clients that subscribe to a channel, at one node after the other."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from raftline_testing.virtual.nodes.node_connections import Doors, ServingNode, SimulatedConnection
from raftline_testing.virtual.nodes.simulated_node import Host
from raftline_testing.virtual.watches.watchlines import Listener
from raftline_testing.virtual.world.world import World

from ..message_machine import MessageBeliefs, SubscriberMachine
from ..redis_wire import framed
from .redis_connection import RedisError, read_reply


class Subscriber(Listener):
    """A client with one subscription at a time."""

    windows = (None, 300, 3000)  # a smaller one would let it fall behind
    waiting = None  # it has no request that must be answered

    def __init__(
        self,
        world: World,
        chance: Random,
        name: str,
        hosts: Sequence[Host],
        beliefs: MessageBeliefs,
    ) -> None:
        self._machine = SubscriberMachine(beliefs, name, chance, world.tick, world.counts)
        super().__init__(world, chance, name, hosts, self._machine.steps())

    @property
    def is_through(self) -> bool:
        """Whether it has all messages, in a subscription of now."""
        return self._machine.is_current

    def begin_last_round(self) -> None:
        """Listen until nothing is missing."""

    def knows(self, names: set[str]) -> bool:
        """Whether it knows one of these nodes."""
        return any(host.name in names for host in self._hosts)

    def _connected(self, host: Host) -> SimulatedConnection:
        return SubscriberConnection(host.requests.doors, host, self)

    def _formatted(self, line: str) -> bytes:
        return framed(*line.split())


class SubscriberConnection(SimulatedConnection):
    """A connection with a subscription."""

    def __init__(self, doors: Doors, host: ServingNode, subscriber: Subscriber) -> None:
        super().__init__(doors, host, lambda connection, line: None)
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
