"""The client that holds leases.

It gets a lease, puts a key under it, renews it for a while, and then releases or forgets it; or it
sets a key for a time, again and again. It counts SECONDS from the first send of the request that
was answered, and retries as raftline's own clients do.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from random import Random
from typing import Final

from .line_request import LineRequest
from .workload_machine import Rest, Steps, WorkloadMachine

SECONDS: Final = (1, 1, 2, 3)
RENEWALS: Final = (0, 1, 5, 40)


class LeaseBeliefs:
    """The beliefs of holders, as they report them to a judge."""

    def confirmed(self, name: str, seconds: int, sent: float) -> None:
        """Take an answer to a request for a lease, or a key with its own, first sent at `sent`."""

    def refused(self, name: str) -> None:
        """Take the answer that there is no such lease."""

    def given_up(self, name: str) -> None:
        """A holder has given up its lease: it sends the release next."""

    def put(self, name: str) -> None:
        """A holder has put its key under its lease."""

    def repeats(self, name: str) -> None:
        """A renewal is sent again, or is never answered: it may arrive late."""

    def forgotten(self, name: str) -> None:
        """A holder falls silent."""


class HolderMachine(WorkloadMachine):
    """A client with one lease at a time."""

    def __init__(
        self,
        name: str,
        chance: Random,
        now: Callable[[], float],
        check: LeaseBeliefs,
        counts: MutableMapping[str, int],
        shared_key: str = "",
        renewals: Sequence[int] = RENEWALS,
    ) -> None:
        """Create a holder. All holders of a `shared_key` want that key; another has its own."""
        super().__init__(name)
        self._chance = chance
        self._now = now
        self._check = check
        self._counts = counts
        self._number = 0
        self._lease = ""
        self._is_put = False
        self._seconds = 1
        self._left = 0  # renewals to come
        self._is_own = chance.random() < 0.3 and not shared_key
        self._is_numbered = chance.random() < 0.5
        self._shared_key = shared_key
        self._renewals = renewals
        self._key = shared_key or f"held-{name}"

    def steps(self) -> Steps:
        """Hold leases until it is stopped."""
        yield from self._thinking()
        while not self.stopped:
            yield from self._act()
            if self.is_left:
                self._check.repeats(self._lease)
                return
            yield from self._thinking()

    def _thinking(self) -> Steps:
        if not self._lease:
            yield Rest(200)
        elif self._chance.random() < 0.1:  # when the leader lets it expire: it may be refused
            yield Rest(1000 * self._seconds, is_exact=True)
            yield Rest(150 * self._seconds)
        else:
            yield Rest(300 * self._seconds)

    def _act(self) -> Steps:
        """Send a request, or forget the lease."""
        if self._is_own:
            yield from self._asking(self._set_own())
        elif not self._lease:
            self._seconds = self._chance.choice(SECONDS)
            self._left = self._chance.choice(self._renewals)
            yield from self._asking(self._write(f"lease {self._seconds}"))
        elif not self._is_put:
            verb = "setnx" if self._shared_key else "set"
            command = f"under {self._lease} {verb} {self._key} {self._lease}"
            yield from self._asking(self._write(command))
        elif self._left:
            self._left -= 1
            yield from self._asking(self._renewal())
        elif self._chance.random() < 0.5:
            self._check.given_up(self._lease)  # it counts as released from the request on
            yield from self._asking(self._write(f"release {self._lease}"))
        else:
            self._check.forgotten(self._lease)
            self._forget()

    def _set_own(self) -> LineRequest:
        """Set a new key, which expires."""
        self._seconds = self._chance.choice(SECONDS)
        self._lease = self._key = f"held-{self.name}-{self._number}"
        return self._write(f"setex {self._key} {self._seconds} {self.name}")

    def _forget(self) -> None:
        """Act as if the holder had died: its lease expires."""
        self._lease, self._is_put = "", False

    # --- requests -----------------------------------------------------------------------------

    def _write(self, command: str) -> LineRequest:
        self._number += 1
        sender = f"{self.name}#{self._number}@" if self._is_numbered else ""
        return LineRequest(self, f"{sender}{command}", self._now(), how="clock")

    def _renewal(self) -> LineRequest:
        return LineRequest(self, f"renew {self._lease}", self._now(), False, "clock")

    def _asking(self, request: LineRequest) -> Steps:
        settled, reply = yield from self.settling(request)
        if reply:
            self._hear(settled, reply)

    def _may_repeat(self, request: LineRequest) -> bool:
        if not request.in_log:
            self._check.repeats(self._lease)
        return True

    def _hear(self, request: LineRequest, reply: str) -> None:
        verb, _, answer = reply.partition(" response: ")
        sent, check = request.called_at, self._check
        if verb.startswith("SETNX response, key exists"):  # another holds it
            self._is_put, self._left = True, 0
            return
        if verb == "RENEW response, no such lease: " + self._lease:
            self._counts["renewals refused"] += 1
            check.refused(self._lease)
        if not answer:  # no such lease, or its session is forgotten: start again
            self._is_numbered = self._is_numbered and not reply.startswith("Sorry, session")
            self._forget()
        elif verb == "LEASE":
            self._lease = answer.split(" ", 1)[0]
            check.confirmed(self._lease, self._seconds, sent)
        elif verb in ("SET", "SETNX"):
            self._is_put = True
            check.put(self._lease)
        elif verb == "RENEW":
            self._counts["leases renewed"] += 1
            check.confirmed(self._lease, self._seconds, sent)
        elif verb == "SETEX":
            check.confirmed(self._key, self._seconds, sent)
        elif verb == "RELEASE":
            self._forget()
