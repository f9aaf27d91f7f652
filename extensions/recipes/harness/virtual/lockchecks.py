"""Invariants of simulated programs that take locks: one holder, and never early."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from raftline.logmanager import LogManager
from raftline.recipes.groups.barrier_steps import BarrierKeys
from raftline.recipes.locks.lock_keys import LOCKS, LockKeys
from raftline_testing.virtual.world.world import World

from .groupchecks import BarrierCheck, PartyCheck, ShardCheck
from .jobchecks import JobCheck

NAMES = ("door", "gate")
KEYS = [LockKeys(LOCKS, name) for name in NAMES]
MEETING = BarrierKeys("step", 2)
BY_HAND = "by hand"  # the value that a stranger gives a lock's key


class Lease(Protocol):
    """The lease of a program."""

    is_broken: bool  # it may have been revoked, or the key that it guards deleted

    @property
    def id(self) -> str: ...
    @property
    def is_held(self) -> bool: ...


class LockCheck:
    """The comparison of programs' beliefs about their locks with each other, and with the nodes."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.jobs = JobCheck()
        self.shards = ShardCheck()
        self.barriers = BarrierCheck(MEETING)
        self.party = PartyCheck()
        # the highest of exclusive holders, and of all holders
        self._tokens: dict[str, tuple[int, int]] = {}
        # the leases, and whether each is shared
        self._held: dict[str, list[tuple[Lease, bool]]] = {}
        self._leases: dict[str, list[Lease]] = {}
        self._there: set[str] = set()
        self._latest = 0
        self._late_renewal = ""
        # the claims that hold each lock, and those in line, as applied
        self._claims: dict[str, tuple[set[str], list[str]]] = {}

    def won(
        self, name: str, token: int, lease: Lease, shares: bool = False, limit: int = 1
    ) -> None:
        """Check a program that gets a lock, or a slot of a semaphore.

        Raises:
            AssertionError: the token doesn't grow, or others certainly hold it, and it isn't shared
                or has no free slot.
        """
        alone, highest = self._tokens.get(name, (0, 0))
        last = alone if shares else highest
        assert token > last or limit > 1, f"{name} has token {token} after {last}"
        self._tokens[name] = (alone if shares else token, max(highest, token))
        held = [each for each in self._held.get(name, []) if each[0].is_held]
        others = [
            each for each, is_shared in held if not (each.is_broken or (shares and is_shared))
        ]
        assert len(others) < limit, f"{name} is got with {token}, and {others} hold it for certain"
        self._held[name] = [*held, (lease, shares)] if shares or limit > 1 else [(lease, shares)]
        counts = self._world.counts
        counts["locks got"] += 1
        counts["locks that are shared"] += shares and len(held) > 0
        counts["locks that were shared before"] += highest > alone and not shares
        counts["slots beside others"] += limit > 1 and len(others) > 0

    def set_by_hand(self, name: str, lease: Lease) -> None:
        """Record that a stranger set the key of a free lock, under a lease."""
        self._held.setdefault(name, []).append((lease, False))
        self._world.counts["locks set by hand"] += 1

    def granted(self, lease: Lease) -> None:
        """Record a lease granted to a program, or a claim under it."""
        self._leases = {
            name: held
            for name, leases in self._leases.items()
            if (held := [each for each in leases if each.is_held])
        }
        self._leases.setdefault(lease.id, []).append(lease)

    def renews(self, lease: str, is_held: bool) -> None:
        """Note a program that requests the renewal of a lease that has expired, so is lost.

        The next applied entry reports it: the renewals of a program survive an error.
        """
        if lease in self._leases and not is_held:
            self._late_renewal = f"{lease} is over, and is renewed"

    def applied(self, manager: LogManager) -> None:
        """Check a node that has applied entries.

        Raises:
            AssertionError: a lease is gone there, but its holder still holds it; or a caller got a
                lock before the next one in turn; or an expired lease was renewed.
        """
        assert not self._late_renewal, self._late_renewal
        if manager.applied.index <= self._latest:
            return
        self._latest = manager.applied.index
        there = set(manager.store.leases.granted)
        for name in self._there - there:
            for lease in self._leases.get(name, []):
                is_held = lease.is_held and not lease.is_broken
                assert not is_held, f"{lease} is believed in after its end"
        self._world.counts["members whose lease ended"] += self.party.ended(self._there - there)
        self._there = there
        self.barriers.applied(manager.store.held)
        for keys in KEYS:
            self._check_order(keys, manager.store.held)

    def _check_order(self, keys: LockKeys, held: Mapping[str, object]) -> None:
        """Check that a claim that did not wait has passed nobody in line."""
        seats = {claim_in(key) for key in held if keys.is_seat(key)}
        places = f"{keys.prefix}line/"
        line = [claim_in(key) for key in sorted(held) if key.startswith(places)]
        seats_before, line_before = self._claims.get(keys.name, (set(), []))
        self._claims[keys.name] = seats, line
        passing = seats - seats_before - set(line_before)
        is_passed_by = bool(passing and line and line_before) and line[0] == line_before[0]
        assert not is_passed_by, f"{line[:1]} waits for {keys.name}, and {passing} have passed it"


def claim_in(key: str) -> str:
    """Return the claim that a key ends with."""
    return key[key.rindex("lease-") :]
