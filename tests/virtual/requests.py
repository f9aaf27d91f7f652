"""The requests of clients at one simulated node: proposed, read, answered, or turned away."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from raftline.raft.effects import ReadReady
from raftline.raft.entries import Entry
from raftline.raft.inputs import AskLeader, Input, Propose, Read
from raftline.raft.node import RawNode
from tests.invariants import InvariantError, Invariants
from tests.virtual.world import World


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


class Requests:
    """Keeps each request until its client knows the outcome; `step` lets the node step."""

    def __init__(
        self,
        world: World,
        name: str,
        invariants: Invariants,
        step: Callable[[RawNode, Input], None],
    ) -> None:
        self._world = world
        self._name = name
        self._invariants = invariants
        self._step = step
        self._waiting: list[Request] = []  # of the next round
        self._proposed: deque[tuple[int, int, Request]] = deque()  # index, term
        self.reading: set[Request] = set()  # the core has them, and has not answered

    def put(self, request: Request) -> bool:
        """Take a request for the next round; return whether it is the first one of that."""
        self._world.tell("request", f"{self._name} <- {request.line}")
        self._waiting.append(request)
        return len(self._waiting) == 1

    def serve(self, node: RawNode) -> None:
        """Let the node have all requests of this round."""
        requests, self._waiting = self._waiting, []
        reads = [request for request in requests if not request.in_log]
        writes = [request for request in requests if request.in_log]
        if node.takes_proposals:
            self._propose(node, writes)
        else:
            for request in writes:
                request.client.refused(request, None if node.view.is_leader else node.view.leader)
        if not node.view.is_leader:
            self._read_here(node, reads)
            return
        leased = [request for request in reads if request.how == "lease"]
        others = [request for request in reads if request.how != "lease"]
        for by_lease, some in ((True, leased), (False, others)):
            if some:
                self.reading |= {*some}
                self._step(node, Read(some, by_lease))

    def _propose(self, node: RawNode, writes: Sequence[Request]) -> None:
        if not writes:
            return
        first = node.view.log.last_index + 1
        for index, request in enumerate(writes, start=first):
            self._proposed.append((index, node.view.term, request))
        self._step(node, Propose([request.command for request in writes]))

    def _read_here(self, node: RawNode, reads: Sequence[Request]) -> None:
        """A follower asks its leader for those that say so, and sends the others on."""
        leader = node.view.leader
        asking = [request for request in reads if request.how == "ask"]
        if asking:
            self.reading |= {*asking}
            self._step(node, AskLeader(asking))
        for request in reads:
            if request.how != "ask":
                request.client.refused(request, leader)

    def applied(self, entries: Sequence[Entry], replies: Sequence[str]) -> None:
        """Answer those whose entries took effect."""
        for entry, reply in zip(entries, replies, strict=True):
            self._world.applied(self._name, entry)
            if self._proposed and self._proposed[0][0] == entry.index:
                self._invariants.acknowledged_index = entry.index
                self._answer(self._proposed.popleft()[2], reply)

    def confirmed(self, node: RawNode, ready: ReadReady, answer: Callable[[Request], str]) -> None:
        """Serve a read that the core lets go."""
        request: Request = ready.token
        self._given_back(request)
        self._invariants.reads(node, request.must_see_index)
        self._answer(request, answer(request))

    def refused(self, node: RawNode, request: Request) -> None:
        """The core gives a read back: its leader is another by now, or unknown."""
        self._given_back(request)
        self._world.counts["reads given back"] += 1
        request.client.refused(request, node.view.leader)

    def _given_back(self, request: Request) -> None:
        if request not in self.reading:
            raise InvariantError(f"{self._name} answers {request.line} a second time")
        self.reading.remove(request)

    def give_up_if_deposed(self, node: RawNode) -> None:
        """A node that lost the lead can't know the fate of its proposals."""
        while self._proposed and not (
            node.view.is_leader and node.view.term == self._proposed[0][1]
        ):
            request = self._proposed.popleft()[2]
            request.client.unknown(request)

    def hang_up(self) -> None:
        """The node dies: nobody here learns any more."""
        hung_up = [*self._waiting, *(request for _, _, request in self._proposed)]
        self._waiting, self._proposed = [], deque()
        self.reading = set()  # their clients lose patience
        for request in hung_up:
            request.client.unknown(request)

    def _answer(self, request: Request, reply: str) -> None:
        self._world.within(2, request.client.answered, request, reply)
