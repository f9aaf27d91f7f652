"""Clients that read and write a few keys, and the history of what they learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from raftline.linearizable import Operation
from tests.simulation.plan import Plan
from tests.simulation.world import World

WAYS: tuple[Literal["index", "lease", "ask"], ...] = ("index", "lease", "ask")


class Server(Protocol):
    """A node as a client sees it."""

    name: str

    def submit(self, request: Request) -> None: ...


@dataclass(eq=False)
class Request:
    """One request under way. It is settled once: answered, refused or given up."""

    client: Client
    verb: Literal["get", "set", "delete"]
    key: str
    value: str | None
    called_at: int
    in_log: bool  # a get, too, may become an entry
    how: Literal["index", "lease", "ask"]  # a get is confirmed by
    settled: bool = False
    must_see_index: int = 0  # what was acknowledged when it came to its node

    @property
    def command(self) -> str:
        operand = f" {self.value}" if self.verb == "set" else ""
        return f"{self.verb} {self.key}{operand}"

    def operation(self, returned_at: int | None, reply: str = "") -> Operation:
        """Return what the history keeps of it; a reply that is none of its own is an error."""
        value, found = self.value, None
        if returned_at is not None:
            word = f"{self.verb.upper()} response"
            absent = reply == f"{word}, no such key: {self.key}"
            if self.verb == "get" and reply.startswith(f"{word}: "):
                value = reply[len(word) + 2 :]
            elif self.verb == "delete":
                found = not absent
            done = {
                "get": f"{word}: {value}",
                "set": f"{word}: {self.key} set to {value}",
                "delete": f"{word}: {self.key} deleted",
            }[self.verb]
            if reply != done and not (absent and self.verb != "set"):
                raise AssertionError(f"{self.client.name} asked {self.command} and got {reply!r}")
        return Operation(
            self.client.name, self.verb, self.key, value, self.called_at, returned_at, found
        )


class Client:
    """One client: a request at a time, to the node it takes for the leader, or to any."""

    _written = 0

    def __init__(
        self,
        world: World,
        plan: Plan,
        name: str,
        servers: Sequence[Server],
        history: list[Operation],
    ) -> None:
        self.name = name
        self.stopped = False
        self.waiting: Request | None = None
        self._world = world
        self._plan = plan
        self._servers = {server.name: server for server in servers}
        self._leader: str | None = None
        # Some stay with the leader they know, others look around and find the new one early.
        self._roams = world.random.choice([0.02, 0.02, 0.3, 0.8])
        self._reads = world.random.choice([0.3, 0.5, 0.97])  # a share of what it asks
        self._way = world.random.choice((None, *WAYS))  # None: now this, now that
        self._history = history
        self.think()

    def think(self) -> None:
        """Ask something new, or the same again, after a while."""
        self._world.after(self._world.random.randint(0, self._plan.think_ms), self._ask_anything)

    def _ask_anything(self) -> None:
        if self.stopped or self.waiting is not None:
            return
        chance = self._world.random
        key = chance.choice("abc"[: self._plan.keys])
        kind = chance.random()
        if kind < self._reads:
            self.ask("get", key, None)
        elif kind < self._reads + 0.9 * (1 - self._reads):
            self._written += 1
            value = f"{self.name}.{self._written}"
            self.ask("set", key, value if chance.random() < 0.9 else f'{value} "é\\n" ')
        else:
            self.ask("delete", key, None)

    def ask(self, verb: Literal["get", "set", "delete"], key: str, value: str | None) -> None:
        """Send a request to some node."""
        world = self._world
        in_log = verb != "get" or world.chance(0.05)
        how = self._way or world.random.choice(WAYS)
        request = Request(self, verb, key, value, world.tick(), in_log, how)
        self.waiting = request
        if self._leader is None or world.chance(self._roams):
            self._leader = world.random.choice(list(self._servers))
        world.after(world.random.randint(0, 2), self._servers[self._leader].submit, request)
        patience_ms = self._plan.options.election_timeout_ms * world.random.choice([1, 3, 10])
        world.after(patience_ms, self.unknown, request)

    def answered(self, request: Request, reply: str) -> None:
        """The reply has come."""
        if self._settle(request):
            self._world.counts["operations answered"] += 1
            self._world.tell(f"{self.name} <- {reply}")
            self._history.append(request.operation(self._world.tick(), reply))
            self.think()

    def refused(self, request: Request, leader: str | None) -> None:
        """Nothing was done for certain: try the leader that was named, or any node."""
        if self._settle(request):
            self._world.counts["operations refused"] += 1
            self._leader = leader if leader in self._servers else None
            if self.stopped:
                return
            longest_ms = 4 if leader else self._plan.options.election_timeout_ms // 2
            pause_ms = self._world.random.randint(2, longest_ms)
            self._world.after(pause_ms, self._ask_again, request)

    def unknown(self, request: Request) -> None:
        """It may have been done, may yet be, or never will."""
        if self._settle(request):
            if request.verb != "get":
                self._world.counts["operations of unknown outcome"] += 1
            self._world.tell(f"{self.name} gives up on {request.command}")
            self._history.append(request.operation(None))
            self._leader = None
            if self.stopped:
                return
            if self._world.chance(0.3):
                self._world.after(2, self._ask_again, request)
            else:
                self.think()

    def _ask_again(self, request: Request) -> None:
        if self.waiting is None and not self.stopped:
            self.ask(request.verb, request.key, request.value)

    def _settle(self, request: Request) -> bool:
        if request.settled:
            return False
        request.settled = True
        self.waiting = None
        return True
