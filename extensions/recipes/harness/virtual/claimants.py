"""Simulated clients that take locks and jobs (recipes/claim_machine.py), and the check of the keys.

A claim that waits hears of its seat, and an idle worker of its job, as from a watch. Some lines of
`hold` and `dequeue` arrive after their client has given them up, or sent them again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from raftline.logmanager import LogManager
from raftline_testing.virtual.leases.lease_holders import Holder, LeaseCheck
from raftline_testing.virtual.world.world import World
from raftline_testing.workloads.holder_machine import HolderMachine

from ..claim_machine import LOCKS, MAY_BE_LATE, QUEUE, ClaimBeliefs, ClaimMachine, words_of

HEARD_MS: Final = 200  # until a client hears of an event, at most
LATE_MS: Final = 3000  # that a line may stay in the network
_HAS: Final = re.compile(r"(c/\w+/)(?:held|line|idle)/.*?(lease-[^/]+/[1-9][0-9]{0,17})(?:/|\Z)")


class ClaimCheck(LeaseCheck):
    """The comparison of what clients believe with the applied entries."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.claims = ClaimBeliefs(world.counts)
        self._last = 0  # the entry of the latest applied state

    def applied(self, manager: LogManager) -> None:
        super().applied(manager)
        if manager.applied.index <= self._last:
            return
        self._last, store = manager.applied.index, manager.store
        keys = sorted(key for key in store if key.startswith("c/"))
        for prefix in LOCKS:
            self._check_lock(prefix, [key for key in keys if key.startswith(prefix)])
        self._check_jobs([key.removeprefix(QUEUE) for key in keys if key.startswith(QUEUE)])
        self._check_gone(keys)
        for key in keys:
            facts = store.facts(key)
            if facts is not None and "/held/" in key:
                for client in self.claims.claimants:
                    if (heard := client.hears(key, facts.changed)) is not None:
                        self._world.within(HEARD_MS, heard)

    def _check_gone(self, keys: Sequence[str]) -> None:
        had = {
            match.groups() for match in map(_HAS.match, keys) if match is not None
        } & self.claims.gone
        assert not had, f"an abandoned claim has a seat, a place or a job: {sorted(had)}"

    def _check_lock(self, prefix: str, keys: Sequence[str]) -> None:
        seats = [key.removeprefix(prefix).split("/")[1] for key in keys if "/held/" in key]
        kinds = {seat if seat in ("alone", "shared") else "2" for seat in seats}
        assert len(kinds) <= 1, f"{prefix} is held in several modes: {keys}"
        assert "shared" in kinds or len(set(seats)) == len(seats), f"one seat twice: {keys}"
        assert len(seats) <= 2 or "shared" in kinds, f"too many seats: {keys}"
        modes = [key.removeprefix(prefix).split("/")[2] for key in keys if "/line/" in key]
        is_free = bool(modes) and (
            not seats or (modes[0] in kinds and modes[0] != "alone" and len(seats) < 2)
        )
        assert not is_free, f"a claim waits for a free seat: {keys}"
        self._world.counts["claims in line"] += len(modes)

    def _check_jobs(self, keys: Sequence[str]) -> None:
        found = {word: [int(key[-19:]) for key in keys if key.startswith(f"{word}/")]
                 for word in ("jobs", "wait", "held", "dead")}  # fmt: skip
        placed = sorted(found["wait"] + found["held"] + found["dead"])
        assert placed == sorted(found["jobs"]), f"a job is in no place, or in two: {keys}"
        has_idle = any(key.startswith("idle/") for key in keys)
        assert not (has_idle and found["wait"]), f"a worker and a job wait: {keys}"
        self._world.counts["workers in line"] += has_idle


class Claimant(Holder):
    """A client that keeps a lease, and takes locks or works on jobs under it."""

    def _machine_of(self, world: World, name: str, check: LeaseCheck) -> HolderMachine:
        assert isinstance(check, ClaimCheck)
        return ClaimMachine(name, world.random, world.time_ms, check, world.counts, check.claims)

    def _way_ms(self, request: Any) -> int:
        is_late = words_of(request)[0] in MAY_BE_LATE and self._world.chance(0.1)
        return LATE_MS if is_late else super()._way_ms(request)

    def answered(self, request: Any, reply: str) -> None:
        if request.settled and ", abandoned: " in reply:
            self._world.counts["late lines refused"] += 1
        super().answered(request, reply)
