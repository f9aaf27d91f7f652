"""Leases in virtual time: how early and how late they end, to the millisecond."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from raftline.common.build_level import LEVEL
from raftline.node.loop.lease_clock import counted_ms
from raftline.raft.change import Change
from raftline.raft.inputs import PeerLevel, Transfer
from raftline.wire.limits import WRITES_TOGETHER
from raftline_testing.virtual import schedule_key
from raftline_testing.virtual.locks.lease_holders import LeaseRequest
from raftline_testing.virtual.nodes.simulated_node import Host, leaders
from raftline_testing.virtual.schedule import Schedule, run
from raftline_testing.virtual.world.plan import NEVER, Plan, pick_plan

ROUND_MS = 40  # delays of 2 ms, a disk that takes 2 ms, and nobody's faults
ELECTION_MS = 10 * 150  # also where votes are split


class Calm:
    """Three nodes of this build without clients and faults; the test speaks for the holder."""

    name = "holder"

    def __init__(self, seed: int = 5, **more: object) -> None:
        plan = pick_plan(Random(seed), 3, ["heal"])
        options = replace(
            plan.options,
            election_timeout_ms=150,
            heartbeat_ms=50,
            batch_bytes=1 << 20,
            batch_entries=2000,
            window=8,
            lease=False,
        )
        plan = replace(
            plan,
            options=options,
            loss=0,
            duplicates=0,
            late=0,
            replays=0,
            delay_ms=2,
            disk_ms=2,
            steady_clocks=True,
            apply_max=4096,
            spares=0,
            change_every_ms=0,
            by_hand=0,
            late_starts=0,
            nonmember_every_ms=0,
            said_new=0,
            clients=1,
            holders=0,
            compact_bytes=NEVER,
            restarts_differ=0,
        )
        self.plan: Plan = replace(plan, **more)  # type: ignore[arg-type]
        self.schedule = Schedule(seed, self.plan, None)
        self.world = self.schedule.world
        self.hosts = list(self.schedule.hosts.values())
        self.replies: list[str] = []
        for host in self.hosts:
            host.build_level = LEVEL
            host.requests.rough = None
            host.disk.die_soon = lambda: None  # type: ignore[method-assign]
        client: Any
        for client in (*self.schedule.talkers, *self.schedule.watch_clients):
            client.stop()
        self.schedule.first_starts()
        self.schedule.clients[0].stop()
        self.tell_levels()
        self.until(lambda: all(host.manager.level == LEVEL for host in self.hosts))

    def tell_levels(self) -> None:
        for host in self.hosts:
            for other in self.hosts:
                if other is not host:
                    host.take(PeerLevel(other.name, LEVEL))

    def until(self, is_so: Callable[..., object], longest_ms: int = 60_000) -> int:
        """Let time pass until it is so; return the time."""
        end_ms = self.world.now_ms + longest_ms
        while not is_so():
            assert self.world.now_ms < end_ms, "it never comes to that"
            self.world.step()
        return self.world.now_ms

    def wait(self, ms: int) -> None:
        due: list[bool] = []
        self.world.after(ms, due.append, True)
        self.until(lambda: due)

    @property
    def leader(self) -> Host:
        """The leader of the latest term."""
        self.until(lambda: leaders(self.hosts))
        return max(leaders(self.hosts), key=lambda pair: pair[1].term)[0]

    def ask(self, command: str, *, in_log: bool = True) -> tuple[str, int]:
        """Return the leader's reply, and when this was sent."""
        self.replies.clear()
        sent_ms = self.world.now_ms
        self.leader.submit(LeaseRequest(self, command, sent_ms, in_log, "clock"))
        self.until(lambda: self.replies)
        return self.replies[0], sent_ms

    def lease(self, seconds: int) -> tuple[str, int]:
        reply, sent_ms = self.ask(f"lease {seconds}")
        return reply.split()[2], sent_ms

    def ended(self, lease: str, longest_ms: int = 60_000) -> int:
        """Return when the first node has applied the end of the lease."""

        granted = int(lease.removeprefix("lease-"))

        def has_ended() -> bool:
            managers = [host.manager for host in self.hosts]
            managers = [each for each in managers if each.applied.index >= granted]
            return any(lease not in each.store.leases.granted for each in managers)

        return self.until(has_ended, longest_ms)

    def answered(self, request: LeaseRequest, reply: str) -> None:
        self.replies.append(reply)

    def refused(self, request: LeaseRequest, leader: str | None) -> None:
        self.replies.append(f"refused, {leader}")

    def unknown(self, request: LeaseRequest) -> None:
        self.replies.append("unknown")


def test_a_lease_under_one_leader_ends_after_its_time_and_a_round() -> None:
    calm = Calm()
    lease, sent_ms = calm.lease(2)
    took_ms = calm.ended(lease) - sent_ms
    assert counted_ms(2000) <= took_ms <= counted_ms(2000) + 2 * ROUND_MS


def test_a_renewed_lease_ends_after_its_last_renewal() -> None:
    calm = Calm()
    lease, _ = calm.lease(2)
    sent_ms = 0
    for _ in range(5):
        calm.wait(1500)
        reply, sent_ms = calm.ask(f"renew {lease}", in_log=False)
        assert reply == f"RENEW response: {lease} for 2 s"
    took_ms = calm.ended(lease) - sent_ms
    assert counted_ms(2000) <= took_ms <= counted_ms(2000) + 2 * ROUND_MS


@pytest.mark.parametrize("changes", [1, 3])
def test_each_change_of_leader_costs_at_most_one_election_and_one_whole_time(changes: int) -> None:
    calm = Calm()
    lease, sent_ms = calm.lease(2)
    for _ in range(changes):
        calm.wait(1000)
        dead = calm.leader
        dead.stop(power_cut=False)
        killed_ms = calm.world.now_ms
        calm.until(lambda dead=dead: any(host is not dead for host, _ in leaders(calm.hosts)))
        elected_ms = calm.world.now_ms
        assert elected_ms - killed_ms <= ELECTION_MS
        dead.start()
        calm.tell_levels()
    ended_ms = calm.ended(lease)
    assert ended_ms >= elected_ms + counted_ms(2000)
    latest_ms = counted_ms(2000) + changes * (ELECTION_MS + counted_ms(2000)) + 2 * ROUND_MS
    assert ended_ms - sent_ms <= latest_ms
    assert ended_ms <= elected_ms + counted_ms(2000) + 2 * ROUND_MS + ELECTION_MS


def test_a_leadership_that_is_handed_over_gives_the_whole_time_again() -> None:
    calm = Calm()
    lease, _ = calm.lease(2)
    calm.wait(1900)
    before = calm.leader
    before.take(Transfer(None))
    calm.until(lambda: calm.leader is not before)
    elected_ms = calm.world.now_ms
    ended_ms = calm.ended(lease)
    assert elected_ms + counted_ms(2000) <= ended_ms <= elected_ms + counted_ms(2000) + 2 * ROUND_MS


@pytest.mark.parametrize("pause_ms", [2100, 5000, 30_000])
def test_a_leader_that_was_paused_ends_nothing_that_its_successor_holds(pause_ms: int) -> None:
    calm = Calm()
    lease, _ = calm.lease(2)
    paused = calm.leader
    paused.pause()
    calm.until(lambda: any(host is not paused for host, _ in leaders(calm.hosts)))
    end_ms = calm.world.now_ms + pause_ms
    while calm.world.now_ms < end_ms:
        reply, _ = calm.ask(f"renew {lease}", in_log=False)
        assert reply == f"RENEW response: {lease} for 2 s"
        calm.wait(500)
    paused.resume()  # its own clock says that the lease is due
    calm.wait(1000)
    reply, sent_ms = calm.ask(f"renew {lease}", in_log=False)
    assert reply == f"RENEW response: {lease} for 2 s"
    assert calm.ended(lease) >= sent_ms + counted_ms(2000)


def test_machines_that_were_suspended_end_at_once_what_is_due() -> None:
    """Their clocks go on, as the holder's does."""
    calm = Calm()
    lease, _ = calm.lease(2)
    for host in calm.hosts:
        host.pause()
    calm.wait(30_000)
    for host in calm.hosts:
        host.resume()
    resumed_ms = calm.world.now_ms
    took_ms = calm.ended(lease) - resumed_ms
    assert took_ms <= ELECTION_MS + counted_ms(2000) + 2 * ROUND_MS  # an election may come first


def test_a_leader_whose_clock_is_fast_by_less_than_a_tenth_is_not_early() -> None:
    calm = Calm()
    for host in calm.hosts:
        host.clock.permille = 1099
        host.clock.start_ms -= host.clock.now_ms()
    lease, sent_ms = calm.lease(3)
    assert calm.ended(lease) - sent_ms >= 3000


def test_a_holder_is_refused_from_when_the_expiry_is_in_the_log() -> None:
    calm = Calm(disk_ms=40)
    lease, _ = calm.lease(1)
    leader = calm.leader
    proposed = calm.world.counts["expiries proposed"]
    calm.until(lambda: calm.world.counts["expiries proposed"] > proposed)
    assert lease in leader.manager.store.leases.granted
    reply, _ = calm.ask(f"renew {lease}", in_log=False)
    assert reply == f"RENEW response, no such lease: {lease}"


def test_members_may_change_while_leases_run() -> None:
    calm = Calm()
    lease, _ = calm.lease(2)
    reported: list[str] = []
    leader = calm.leader
    change = Change("remove", leader.name)
    leader.change(change, lambda *said: reported.append(said[0]), lambda node, change: True)
    calm.until(lambda: reported)
    assert reported == ["done"]
    calm.until(lambda: any(host is not leader for host, _ in leaders(calm.hosts)))
    elected_ms = calm.world.now_ms
    assert calm.ended(lease) >= elected_ms - ROUND_MS + counted_ms(2000)


def test_many_leases_that_are_due_at_once_all_end() -> None:
    calm = Calm()
    count = 1500
    for _ in range(count):
        calm.leader.submit(LeaseRequest(calm, "lease 1", calm.world.now_ms, True, "clock"))
    calm.until(lambda: len(calm.replies) == count)
    granted_ms = calm.world.now_ms
    calm.until(lambda: not calm.leader.manager.store.leases.granted)
    assert calm.world.now_ms - granted_ms <= counted_ms(1000) + 5 * ROUND_MS
    assert calm.world.counts["expiries proposed"] <= count // WRITES_TOGETHER + 3


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 8))]
)
def test_no_lease_ends_early_in_schedules_of_faults(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """With three holders each; `LeaseCheck` compares what they believe with what is applied."""
    monkeypatch.setattr(
        schedule_key, "pick_plan", lambda *given: replace(pick_plan(*given), holders=4)
    )
    counts: Counter[str] = Counter()
    for each in range(4 * seed, 4 * seed + 4):
        counts += run(7000 + each, nodes=3).counts
    assert counts["leases confirmed"] > 0
