"""Simulated holders of leases, and the check that none of their leases ends early.

A holder counts SECONDS from the first send of the request that was answered, by a clock almost a
tenth slower than the leader's: the most that the promise allows. It retries as raftline's own
clients do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from raftline.logmanager import LogManager
from raftline.wire.commands.lease_operands import OWN

from ..clients.one_at_a_time import OneAtATime
from ..nodes.request_interface import Asker, Server
from ..world.plan import Plan
from ..world.world import World

SECONDS = (1, 1, 2, 3)
HOLDER_PERMILLE = 1001  # so that the fastest node (Plan.clock_of) is not a tenth faster


class LeaseCheck:
    """The comparison of the holders' beliefs with the applied entries of nodes."""

    def __init__(self, world: World) -> None:
        self._world = world
        # held until then: a lease, or a key with its own lease
        self._until_ms: dict[str, float] = {}
        self._there: set[str] = set()  # existing leases in the latest applied state
        self._ended_ms: dict[str, int] = {}
        self._latest = 0  # the last entry of that state

    def confirmed(self, name: str, seconds: int, sent_ms: int) -> None:
        """Record that a holder learns of a grant for a request first sent at `sent_ms`.

        Raises:
            AssertionError: the lease ended, and this holder would still hold it.
        """
        until_ms = sent_ms + seconds * 1_000_000 / HOLDER_PERMILLE
        self._until_ms[name] = max(self._until_ms.get(name, 0), until_ms)
        self._world.counts["leases confirmed"] += 1
        self._judge(name)

    def refused(self, name: str) -> None:
        """Record that a holder learns that its lease is gone.

        Raises:
            AssertionError: it still holds the lease.
        """
        self._ended_ms.setdefault(name, self._world.now_ms)
        self._judge(name)
        self.given_up(name)

    def given_up(self, name: str) -> None:
        """Record that a holder has released its lease."""
        self._until_ms.pop(name, None)

    def applied(self, manager: LogManager) -> None:
        """Check a node that has applied entries, or installed a snapshot.

        Raises:
            AssertionError: a lease is gone there, but its holder still holds it.
        """
        if manager.applied.index <= self._latest:
            return
        self._latest = manager.applied.index
        store = manager.store
        own = [keys for lease, keys in store.leased.items() if lease.startswith(OWN)]
        there = {*store.leases.granted, *(key for keys in own for key in keys)}
        for name in self._there - there:
            self._ended_ms[name] = self._world.now_ms
            self._world.counts["leases ended"] += 1
            self._judge(name)
        self._there = there

    def _judge(self, name: str) -> None:
        ended_ms, until_ms = self._ended_ms.get(name), self._until_ms.get(name, 0)
        if ended_ms is not None and ended_ms < until_ms:
            raise AssertionError(
                f"{name} ended at {ended_ms}, and its holder holds it until {until_ms:.0f}"
            )


@dataclass(eq=False)
class LeaseRequest:
    """A request of a holder, in the form that `Requests` needs."""

    client: Asker
    command: str
    sent_ms: int  # time of the first send
    in_log: bool
    how: str
    settled: bool = False
    must_see_index: int = 0

    @property
    def line(self) -> str:
        return self.command if "@" in self.command else f"{self.client.name}@{self.command}"


class Holder(OneAtATime):
    """A client that gets a lease, puts a key under it, renews it for a while, and then releases or
    forgets it; or sets a key for a time, again and again."""

    def __init__(
        self, world: World, plan: Plan, name: str, servers: Sequence[Server], check: LeaseCheck
    ) -> None:
        super().__init__(world, plan, name, servers)
        self._check = check
        self._number = 0
        self._lease = ""
        self._is_put = False
        self._seconds = 1
        self._left = 0  # renewals to come
        self._is_own = world.chance(0.3)
        self._is_numbered = world.chance(0.5)
        self._key = f"held-{name}"
        self._think()

    def stop(self) -> None:
        self.stopped = True

    # --- its requests ---------------------------------------------------------------------------

    def _think(self) -> None:
        world, seconds = self._world, self._seconds
        if not self._lease:
            world.within(200, self._next)
        elif world.chance(0.1):  # when the leader lets it expire: this may be late, and refused
            world.after(1000 * seconds, world.within, 150 * seconds, self._next)
        else:
            world.within(300 * seconds, self._next)

    def _next(self) -> None:
        if self.stopped or self.waiting is not None:
            return
        if self._is_own:
            self._set_own()
        elif not self._lease:
            self._seconds = self._world.random.choice(SECONDS)
            self._left = self._world.random.choice([0, 1, 5, 40])
            self._write(f"lease {self._seconds}")
        elif not self._is_put:
            self._write(f"under {self._lease} set {self._key} {self._lease}")
        elif self._left:
            self._left -= 1
            self._ask(f"renew {self._lease}", in_log=False)
        elif self._world.chance(0.5):
            self._check.given_up(self._lease)  # it counts as released from the request on
            self._write(f"release {self._lease}")
        else:
            self._forget()

    def _set_own(self) -> None:
        """Set a new key, which expires."""
        self._seconds = self._world.random.choice(SECONDS)
        self._lease = self._key = f"held-{self.name}-{self._number}"
        self._write(f"setex {self._key} {self._seconds} {self.name}")

    def _forget(self) -> None:
        """Act as if the holder had died: its lease expires."""
        self._lease, self._is_put = "", False
        self._think()

    # --- requests -----------------------------------------------------------------------------

    def _write(self, command: str) -> None:
        self._number += 1
        sender = f"{self.name}#{self._number}@" if self._is_numbered else ""
        self._ask(f"{sender}{command}", in_log=True)

    def _ask(self, command: str, *, in_log: bool) -> None:
        self._send(LeaseRequest(self, command, self._world.now_ms, in_log, "clock"))

    def refused(self, request: LeaseRequest, leader: str | None) -> None:
        if self._settle(request):
            self._leader = leader if leader in self._servers else None
            self._world.within(20, self._again, request)

    def unknown(self, request: LeaseRequest) -> None:
        if self._settle(request):
            self._leader = None
            self._world.within(20, self._again, request)

    def _again(self, request: LeaseRequest) -> None:
        """Retry: the time still counts from the first send."""
        if not self.stopped and self.waiting is None:
            self._send(
                LeaseRequest(self, request.command, request.sent_ms, request.in_log, request.how)
            )

    # --- replies ------------------------------------------------------------------------------

    def answered(self, request: LeaseRequest, reply: str) -> None:
        if not self._settle(request):
            return
        self._world.tell("answer", f"{self.name} <- {reply}")
        verb, _, answer = reply.partition(" response: ")
        sent_ms, check = request.sent_ms, self._check
        if verb == "RENEW response, no such lease: " + self._lease:
            self._world.counts["renewals refused"] += 1
            check.refused(self._lease)
        if not answer:  # no such lease, or its session is forgotten: start again
            self._is_numbered = self._is_numbered and not reply.startswith("Sorry, session")
            self._forget()
            return
        if verb == "LEASE":
            self._lease = answer.split(" ", 1)[0]
            check.confirmed(self._lease, self._seconds, sent_ms)
        elif verb == "SET":
            self._is_put = True
        elif verb == "RENEW":
            self._world.counts["leases renewed"] += 1
            check.confirmed(self._lease, self._seconds, sent_ms)
        elif verb == "SETEX":
            check.confirmed(self._key, self._seconds, sent_ms)
        elif verb == "RELEASE":
            self._lease, self._is_put = "", False
        self._think()
