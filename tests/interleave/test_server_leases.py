"""Leases at two members: the owner asks for expiries, clients renew, entries are offloaded, and
the leadership is handed over. None ends early, each expiry is proposed once, none is left."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest

from raftline.node.loop import applying, arrivals, granted_leases, lease_clock, stepper
from raftline.node.loop import driver as drivers
from raftline.node.loop.granted_leases import GrantedLeases
from raftline.node.loop.stepper import Stepper
from raftline.raft.log import Entry
from raftline.state import lease_table as leases
from raftline.state.store import Store
from raftline.wire.commands.parsing import BY_CLOCK
from raftline_testing.doubles.fake_rim import stepper_of
from raftline_testing.interleave.scenarios import check_interleavings, first_failure, seeds
from raftline_testing.interleave.threads import Thread, pass_steps
from tests.interleave.members import Asking, Member, Network, wait_for_a_leader

pytestmark = pytest.mark.pure  # it derives from compiled classes
LINES = (drivers, arrivals, stepper, applying, granted_leases, lease_clock, leases)
MEMBERS = {"s1": "one:10001", "s2": "two:10002"}
HOLDERS, RENEWALS = 2, 2
SECONDS = 1
LATE_S = 0.3  # a tenth of the time for clocks that differ, and the pauses between entries
AMID_STEPS = 3000
ENDS_IN = 100  # tenths of a second, with the whole time that a new leader gives
LONG = ("lease ", "release ", "under ", "expired ")


def count_short(store: Store, entries: Sequence[Entry]) -> int:
    """Take every entry that touches leases for one that takes long."""
    for place, entry in enumerate(entries):
        if entry.command.startswith(LONG):
            return place
    return len(entries)


class Promises:
    """The promises to holders, and the expiries that leaders have proposed."""

    def __init__(self) -> None:
        self.until_s: dict[str, float] = {}  # of each lease
        self.is_undisturbed = Thread.schedule.is_punctual
        self._proposed: set[tuple[int, str]] = set()  # with the term

    def proposed(self, term: int, leases: Sequence[str]) -> None:
        """A leader proposes that these end."""
        for lease in leases:
            assert (term, lease) not in self._proposed, f"{lease} is proposed to end twice"
            self._proposed.add((term, lease))
            if lease in self.until_s:
                late_s = time.monotonic() - self.until_s[lease]
                assert late_s >= 0, f"{lease} ends {-late_s:.3f} s early"
                assert not (self.is_undisturbed and late_s > LATE_S), f"{late_s:.3f} s late"

    def renewed(self, term: int, lease: str, asked_s: float) -> None:
        """The leader of this term confirms a renewal."""
        assert (term, lease) not in self._proposed, f"{lease} is renewed amid its expiry"
        self.until_s[lease] = max(self.until_s.get(lease, 0.0), asked_s + SECONDS)


class Watched(GrantedLeases):
    """The clock of leases of one leader; its expiries are looked at."""

    promises: Promises

    def expiry(self, now_ms: int) -> str:
        found = super().expiry(now_ms)
        if found:
            self.promises.proposed(self.term, found.split(" ")[2:])
        return found


class Scene:
    """A cluster, and clients that hold leases there."""

    def __init__(self, network: Network) -> None:
        Thread.schedule.allow_for_many_steps()
        self.promises = Watched.promises = Promises()
        self.members = [Member(network, name, MEMBERS) for name in MEMBERS]
        for member in self.members:
            member.start()
        wait_for_a_leader(*self.members)

    def hold(self, key: str) -> None:
        """Hold a lease with a key for a while; then leave it, or release it."""
        begun_s = time.monotonic()
        lease = self._ask(f"lease {SECONDS}").removeprefix("LEASE response: ").split(" ")[0]
        self.promises.until_s[lease] = begun_s + SECONDS
        self._ask(f"under {lease} set {key} 1")
        for _ in range(RENEWALS):
            time.sleep(Thread.schedule.random.choice((0.1, SECONDS, 1.1 * SECONDS)))
            self._renew(lease)
        if Thread.schedule.random.random() < 0.3:
            self.promises.until_s.pop(lease)
            self._ask(f"release {lease}")

    def _renew(self, lease: str) -> None:
        leader, asked_s = wait_for_a_leader(*self.members), time.monotonic()

        def check(reply: str) -> None:
            if reply.startswith("RENEW response: "):
                self.promises.renewed(leader.node.view.term, lease, asked_s)

        Asking(leader.driver, f"renew {lease}", check, is_read=True, reading=BY_CLOCK).wait()

    def _ask(self, command: str) -> str:
        while True:
            leader = wait_for_a_leader(*self.members)
            reply = Asking(leader.driver, command, is_read=False).wait()
            if not reply.startswith("Sorry, "):
                return reply
            time.sleep(0.01)

    def end(self) -> None:
        """See that no lease is left, nor anything that counts one."""
        for _ in range(ENDS_IN):
            time.sleep(0.1)
            if not any(map(_has_leases, self.members)):
                return
        raise AssertionError(f"leases are left: {[*map(_has_leases, self.members)]}")


def _has_leases(member: Member) -> list[object]:
    store, clock = member.logmanager.store, stepper_of(member.driver)._leasing
    left = [dict(store.leases.granted), dict(store.leased), set(clock._expiring)]
    return [each for each in left if each]


@contextmanager
def _watched(kind: Any = Watched) -> Iterator[None]:
    with (
        mock.patch.object(stepper, "GrantedLeases", kind),
        mock.patch.object(applying, "count_short", count_short),
    ):
        yield


def leases_are_held(kind: Any = Watched) -> None:
    """Meanwhile the leadership is handed over."""
    with (network := Network()).in_place(), _watched(kind):
        scene = Scene(network)
        holders = [threading.Thread(target=scene.hold, args=(f"k{n}",)) for n in range(HOLDERS)]
        for thread in holders:
            thread.start()
        if Thread.schedule.random.random() < 0.5:
            pass_steps(AMID_STEPS)
            scene.promises.is_undisturbed = False
            wait_for_a_leader(*scene.members).transfer(None)
        for thread in holders:
            thread.join()
        scene.end()


@seeds(15, 10_000)
def test_a_lease_ends_once_in_time_and_never_early(seeds: range) -> None:
    check_interleavings(leases_are_held, seeds, LINES)


class ForgetsWhatEnds(Watched):
    """A fault: a lease whose expiry is in the log counts as any other."""

    def expiry(self, now_ms: int) -> str:
        found = super().expiry(now_ms)
        self._expiring.clear()
        return found


class SleepsOn(Stepper):
    """A fault: the owner does not wake for leases that are due."""

    @property
    def wake_at_ms(self) -> int:
        return self._node.wake_at_ms


@pytest.mark.slow
def test_a_renewal_amid_an_expiry_is_found() -> None:
    failure = first_failure(lambda: leases_are_held(ForgetsWhatEnds), range(100), LINES)
    assert failure is not None
    assert "is renewed amid its expiry" in str(failure)


@pytest.mark.slow
def test_an_expiry_that_nobody_wakes_for_is_found() -> None:
    with mock.patch.object(drivers, "Stepper", SleepsOn):
        failure = first_failure(leases_are_held, range(50), LINES)
    assert failure is not None
    assert "s late" in str(failure)
