"""Leases in virtual time: how early and how late they end, to the millisecond."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from raftline.node.loop.lease_clock import counted_ms
from raftline.raft.change import Change
from raftline.raft.inputs import Transfer
from raftline.wire.limits import WRITES_TOGETHER
from raftline_testing.virtual import schedule_key
from raftline_testing.virtual.calm import ELECTION_MS, ROUND_MS, Calm
from raftline_testing.virtual.nodes.simulated_node import leaders
from raftline_testing.virtual.schedule import run
from raftline_testing.virtual.world.plan import pick_plan
from raftline_testing.workloads.line_request import LineRequest


def test_lease_under_one_leader_ends_after_its_time_and_a_round() -> None:
    """If the leader stays, a lease expires after its TTL and one round."""
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
def test_each_change_of_leader_costs_one_election_and_one_time(changes: int) -> None:
    """Each change of leader delays an expiry by at most one election and one TTL."""
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
        calm.tell_builds()
    ended_ms = calm.ended(lease)
    assert ended_ms >= elected_ms + counted_ms(2000)
    latest_ms = counted_ms(2000) + changes * (ELECTION_MS + counted_ms(2000)) + 2 * ROUND_MS
    assert ended_ms - sent_ms <= latest_ms
    assert ended_ms <= elected_ms + counted_ms(2000) + 2 * ROUND_MS + ELECTION_MS


def test_handed_over_leadership_gives_the_whole_time_again() -> None:
    """A leadership that is handed over gives the whole time again."""
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
def test_paused_leader_ends_nothing_its_successor_holds(pause_ms: int) -> None:
    """A leader that was paused ends nothing that its successor holds."""
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
    """Their clocks continue, as the holder's does."""
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


def test_leader_with_a_slightly_fast_clock_is_not_early() -> None:
    """A leader whose clock is fast by less than a tenth is not early."""
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
        calm.leader.submit(LineRequest(calm, "lease 1", calm.world.now_ms, True, "clock"))
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
