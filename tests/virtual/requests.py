"""The requests of clients at one simulated node: a batch each, and what its replies say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from raftline.net.host import Batch
from raftline.wire.parsing import BY_CLOCK, BY_ROUND, Reading
from raftline.wire.protocol import NOT_LEADER, OUTCOME_UNKNOWN
from tests.invariants import InvariantError, Invariants
from tests.virtual.world import World

READINGS = {
    "lease": Reading(by_lease=True), "ask": Reading(may_ask=True), "clock": BY_CLOCK,
}  # fmt: skip


class Asker(Protocol):
    """The receiver of a request's outcome: one of these is called, once."""

    name: str

    def answered(self, request: Any, reply: str) -> None: ...
    def refused(self, request: Any, leader: str | None) -> None: ...
    def unknown(self, request: Any) -> None: ...


class Request(Protocol):
    """A request while a node has it."""

    must_see_index: int  # what was acknowledged when it came to its node

    @property
    def client(self) -> Asker: ...
    @property
    def command(self) -> str: ...
    @property
    def line(self) -> str: ...
    @property
    def in_log(self) -> bool: ...
    @property
    def how(self) -> str: ...


class Asked:
    """The connection of one request, which its reply leaves from."""

    def __init__(self, requests: Requests, request: Request) -> None:
        self.request = request
        self.is_read = not request.in_log
        self.is_applied = False  # its reply is that of its entry
        self.is_answered = False
        command = request.command
        reading = READINGS.get(request.how, BY_ROUND) if self.is_read else BY_ROUND
        if reading.may_ask and not requests.may_ask:
            reading = BY_ROUND
        if reading.by_clock:
            command = command.rpartition("@")[2]
        self._requests = requests
        self.batch = Batch([command], is_read=self.is_read, reading=reading, reply_sink=self)

    def keep(self, batch: Batch, replies: list[str]) -> list[str]:
        self.is_applied = True
        return replies

    def mark_ready(self) -> None:
        if self.is_answered:
            raise InvariantError(f"{self.request.line} is answered a second time")
        self.is_answered = True
        self._requests.mark_ready(self)

    def flush(self) -> None:
        self._requests.ready.append(self)  # whose errors are not the node's

    def break_off(self) -> None:
        pass


class Requests:
    """Keeps each request until its client was told the outcome."""

    def __init__(
        self,
        world: World,
        name: str,
        invariants: Invariants,
        mark_ready: Callable[[Asked], None],
        applied_index: Callable[[], int],
        leads_on: Callable[[int], bool],
        watch_renewals: Callable[[str], None],
    ) -> None:
        self._world = world
        self._name = name
        self._invariants = invariants
        self.mark_ready = mark_ready
        self._applied_index = applied_index
        self._leads_on = leads_on
        self._watch_renewals = watch_renewals
        self.may_ask = True  # a follower asks its leader for the read index
        self.ready: list[Asked] = []  # their replies have left
        self.is_held_up = False  # what reads the pairs waits for a long entry
        self._held_up: list[Asked] = []
        self._open: dict[Asked, None] = {}
        self.reading: set[Batch] = set()  # the core has them, and has not answered

    def asked(self, request: Request) -> Batch:
        """Take a request; return the batch that it is."""
        self._world.tell("request", f"{self._name} <- {request.line}")
        request.must_see_index = self._invariants.acknowledged_index
        asked = Asked(self, request)
        self._open[asked] = None
        return asked.batch

    def go_on(self) -> None:
        """Let those go on that a long entry has held up."""
        self.is_held_up = False
        self.ready += self._held_up
        self._held_up = []

    def deliver(self) -> None:
        """Let the clients have the replies that have left."""
        ready, self.ready = self.ready, []
        for asked in ready:
            if self.is_held_up and asked.batch.reader is not None:
                self._held_up.append(asked)
                continue
            del self._open[asked]
            self._deliver(asked, asked.request)

    def _deliver(self, asked: Asked, request: Request) -> None:
        batch = asked.batch
        if batch.reader is not None:
            self._invariants.reads(self._name, self._applied_index(), request.must_see_index)
            self._answer(request, batch.reader.read(batch.commands)[0])
            return
        reply = batch.replies[0]
        if asked.is_applied:
            last = self._invariants.acknowledged_index
            self._invariants.acknowledged_index = max(last, batch.first_index)
            self._answer(request, reply)
        elif not reply.startswith("Sorry, "):  # by the clock of leases
            self._watch_renewals(reply)
            self._answer(request, reply)
        elif reply.startswith(OUTCOME_UNKNOWN):
            if self._leads_on(batch.first_index):
                raise InvariantError(f"{self._name} gives {request.line} up, and leads on")
            request.client.unknown(request)
        else:
            named = reply.rpartition(": ")[2] if reply.startswith(NOT_LEADER) else ""
            request.client.refused(request, named.split(" ")[0] or None)

    @property
    def unanswered(self) -> int:
        """How many requests have no answer."""
        return sum(not asked.is_answered for asked in self._open)

    def hang_up(self) -> None:
        """The node dies: nobody here learns any more."""
        hung_up, self._open = self._open, {}
        self.reading = set()
        self.ready = []
        self._held_up = []
        for asked in hung_up:
            asked.request.client.unknown(asked.request)

    def _answer(self, request: Request, reply: str) -> None:
        self._world.within(2, request.client.answered, request, reply)
