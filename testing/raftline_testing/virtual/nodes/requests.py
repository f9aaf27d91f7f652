"""The requests of clients at one simulated node: a line each, and the meaning of its reply line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from raftline.net.protocol.host import Batch
from raftline.wire.refusal import ELSEWHERE, NOT_LEADER, OUTCOME_UNKNOWN
from raftline.wire.replies.refusals import refusal_in

from ...invariants import InvariantError, Invariants
from ...workloads.client_request import formatted
from ..world.world import World
from .client_connection import AtDoor, ClientConnection
from .node_connections import Doors, ServingNode, SimulatedConnection
from .request_interface import Asked, Asker, Request
from .rough_lines import RoughLines


class Porter(Protocol):
    """The maker of connections of clients that log in."""

    def connect(self, client: Asker) -> ClientConnection | None:
        """Return a new connection of a client; None if it needs no login."""


class Requests:
    """The sender of each request as a line, which keeps it until its client has the outcome."""

    def __init__(
        self,
        world: World,
        host: ServingNode,
        invariants: Invariants,
        applied_index: Callable[[], int],
        leads_on: Callable[[int], bool],
        watch_renewals: Callable[[str], None],
    ) -> None:
        self._world = world
        self._name = host.name
        self._host = host
        self.invariants = invariants
        self._applied_index = applied_index
        self._leads_on = leads_on
        self._watch_renewals = watch_renewals
        self.may_ask = True  # a follower asks its leader for the read index
        self.doors = Doors(host)
        self.ready: list[tuple[SimulatedConnection, Asked]] = []  # their replies have left
        # connections that wait for something other than bytes
        self.waiting: dict[SimulatedConnection, None] = {}
        self.rough: RoughLines | None = None  # how lines arrive; None: whole, one at a time
        self.porter: Porter | None = None
        self._open: dict[Asked, None] = {}
        self._connections: dict[Asker, ClientConnection] = {}
        self._others: list[SimulatedConnection] = []
        self.reading: set[Batch] = set()  # batches that the core has not answered yet
        # batches that it answered during a long entry that is still being applied
        self.reads_amid_offload: list[Batch] = []

    def ask(self, request: Request) -> None:
        """Deliver the line of a request, on a connection that waits for nothing else."""
        line = request.line
        self._world.tell("request", f"{self._name} <- {line}")
        request.must_see_index = self.invariants.acknowledged_index
        connection = self._connections.get(request.client)
        if connection is None or connection.asked or connection.is_over:
            guarded = self.porter.connect(request.client) if self.porter is not None else None
            connection = guarded or self._connected(request)
            self._connections[request.client] = connection
        asked, data = self._as_sent(request, line, connection)
        self._open[asked] = None
        if self.rough is None or connection.doors is not self.doors:
            connection.asked.append(asked)
            connection.receive(data)
        else:
            self.rough.send(self._host, connection, asked, data)

    def _connected(self, request: Request) -> ClientConnection:
        if isinstance(request, AtDoor):
            return request.connect(self.doors, self._host)
        return ClientConnection(self.doors, self._host)

    def _as_sent(
        self, request: Request, line: str, connection: ClientConnection
    ) -> tuple[Asked, bytes]:
        """Return a request in flight, and its bytes."""
        if isinstance(request, AtDoor):
            return Asked(request, ""), request.begin(connection)
        line = formatted(request, may_ask=self.may_ask)
        return Asked(request, line.partition("@")[0].partition("#")[2]), f"{line}\n".encode()

    def connect(self) -> ClientConnection:
        """Make a connection that its client keeps."""
        connection = ClientConnection(self.doors, self._host)
        self.keep(connection)
        return connection

    def keep(self, connection: SimulatedConnection) -> None:
        """Keep a connection while the node is up."""
        self._others = [one for one in self._others if not one.is_over] + [connection]

    def deliver(self) -> bool:
        """Deliver the sent replies to the clients, and let connections proceed; return whether any
        did."""
        has_heard = False
        if self.ready:
            ready, self.ready = self.ready, []
            for connection, asked in ready:
                if asked.request is not None:
                    del self._open[asked]
                    self._deliver(connection, asked, asked.request)
                elif asked.heard is not None:
                    asked.heard(asked.reply)  # for example of a login: the waiting lines proceed
                    has_heard = True
        if not self.waiting:
            return has_heard
        waiting, self.waiting = self.waiting, {}
        return any([connection.proceed() for connection in waiting]) or has_heard

    def _deliver(self, connection: SimulatedConnection, asked: Asked, request: Request) -> None:
        batch, reply = asked.batch, asked.reply
        if batch is not None and batch.reader is not None:
            self.invariants.reads(self._name, self._applied_index(), request.must_see_index)
            self._answer(request, reply)
        elif batch is not None and asked.is_applied:
            last = self.invariants.acknowledged_index
            self.invariants.acknowledged_index = max(last, batch.first_index + asked.place)
            self._answer(request, reply)
        elif not reply.startswith("Sorry, "):  # by the clock of leases
            self._watch_renewals(reply)
            self._answer(request, reply)
        elif reply.startswith(OUTCOME_UNKNOWN):
            if batch is not None and self._leads_on(batch.first_index + asked.place):
                raise InvariantError(f"{self._name} gives {request.line} up, and leads on")
            request.client.unknown(request)
        elif (refusal := refusal_in(reply)) is None or refusal.outcome is not ELSEWHERE:
            self._answer(request, reply)  # no server should do that
        else:
            named = reply.rpartition(": ")[2] if reply.startswith(NOT_LEADER) else ""
            request.client.refused(request, named.split(" ")[0] or None)

    @property
    def acknowledged_index(self) -> int:
        """The last entry that any node has acknowledged."""
        return self.invariants.acknowledged_index

    @property
    def unanswered(self) -> int:
        """The number of unanswered batches."""
        return self.doors.unanswered

    def hang_up(self) -> None:
        """Handle the death of the node: its clients get no more replies."""
        # Among those that wait are some that their clients have left for a new one.
        known = (*self._connections.values(), *self._others, *self.waiting)
        for connection in dict.fromkeys(known):
            connection.end()
        self._connections, self._others = {}, []
        hung_up, self._open = self._open, {}
        self.doors.submitted = []
        self.reading = set()
        self.reads_amid_offload = []
        self.ready = []
        self.waiting = {}
        for request in hung_up:
            if request.request is not None:
                request.request.client.unknown(request.request)

    def note_reads_amid_offload(self, batches: Sequence[Batch]) -> None:
        """Record the reads that the core answers now; during a long entry they must wait for its
        end."""
        if self._host.is_applying_offloaded:
            self.reads_amid_offload += [batch for batch in batches if not batch.is_answered]

    def look_at_reads_amid_offload(self) -> None:
        """Check that these reads wait for the end of the long entry.

        Raises:
            InvariantError: a read is served from changing pairs.
        """
        for batch in self.reads_amid_offload:
            refused = batch.replies and batch.replies[0].startswith("Sorry, ")
            if batch.is_answered and not refused:
                raise InvariantError(f"{self._name} serves {batch.commands} during a long entry")

    def _answer(self, request: Request, reply: str) -> None:
        self._world.within(2, request.client.answered, request, reply)
