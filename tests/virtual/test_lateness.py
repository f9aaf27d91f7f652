"""How late leases end under faults: `LatenessCheck` has the bound."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from raftline.node.loop.lease_clock import counted_ms
from raftline.raft.inputs import Transfer
from raftline_testing.runner.at_night import in_the_rest
from raftline_testing.virtual.calm import Calm
from raftline_testing.virtual.leases.lateness import ROUND_MS, LatenessCheck
from raftline_testing.virtual.nodes.simulated_node import leaders
from raftline_testing.virtual.schedule import Schedule, as_planned
from raftline_testing.virtual.world.plan import FAULTS, Plan, pick_plan

STEPS = 6000
KINDS = [
    *(kind for kind in FAULTS if not kind.startswith("lose ")),  # files are never lost here
    "lose connection", "regain", "long pause", "long pause",
]  # fmt: skip


def plan_of(chance: random.Random) -> Plan:
    """Return a plan in which nothing is slow but by a fault, with clocks of different rates."""
    plan = pick_plan(chance, chance.choice([3, 3, 3, 5]), chance.sample(KINDS, 5))
    timeout_ms = plan.options.election_timeout_ms
    options = replace(
        plan.options,
        batch_entries=2000,
        batch_bytes=1 << 20,
        window=8,
        chunk_bytes=1 << 18,
    )
    return replace(
        plan,
        options=options,
        loss=0,
        late=0,
        delay_ms=2,
        disk_ms=2,
        steady_clocks=False,
        apply_max=4096,
        spares=chance.choice([0, 1]),
        late_starts=0,
        long_ms=0,
        slow_entries=False,
        by_hand=0,
        restarts_differ=0,
        change_every_ms=timeout_ms * chance.choice([0, 8, 20]),
        nonmember_every_ms=0,
        said_new=0,
        clients=1,
        dealers=0,
        holders=4,
        fault_every_ms=timeout_ms * chance.choice([6, 12, 40]),
    )


def run(seed: int, steps: int = STEPS) -> LatenessCheck:
    """Run a schedule of so many events with faults, then heal everything; judge all the while.

    Raises:
        AssertionError: a lease was early, or late, or an election was.
    """
    chance = random.Random(f"lateness {seed}")
    plan = plan_of(chance)
    schedule = Schedule(seed, plan, None)
    hosts = list(schedule.hosts.values())
    check = LatenessCheck(schedule.world, plan, schedule.network, hosts)
    try:
        with as_planned(schedule):
            for _ in schedule.events(steps):
                pass
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}\n{plan}") from error
    return check


@pytest.mark.parametrize("seeds", [range(1), in_the_rest(range(1, 8))])
def test_no_lease_ends_later_than_the_bound_under_faults(seeds: range) -> None:
    """These are schedules with faults."""
    checks = [run(seed) for seed in seeds]
    assert max(check.latest_ms for check in checks) >= 0  # leases were there to their end
    assert sum(check.leaderships for check in checks) >= len(seeds)
    assert sum(check.counted_ms for check in checks) > 5_000 * len(seeds)


class Checked(Calm):
    """A calm cluster whose lateness is judged."""

    def __init__(self) -> None:
        super().__init__()
        self.check = LatenessCheck(self.world, self.plan, self.schedule.network, self.hosts)


def test_a_lease_that_nobody_ends_is_found_to_be_late() -> None:
    calm = Checked()
    lease, _ = calm.lease(1)
    calm.leader.leasing._clock.start(lease, calm.leader.clock.now_ms() + ROUND_MS + 20)
    with pytest.raises(AssertionError, match=f"{lease} is late by 2[0-9][0-9] ms"):
        calm.ended(lease)


@pytest.mark.slow
@pytest.mark.pure  # a method of a compiled class can't be replaced
def test_a_quorum_that_elects_nobody_is_found_to_be_late() -> None:
    calm = Checked()
    calm.leader.stop(power_cut=False)
    for host in calm.hosts:
        if host.node is not None:
            host.leasing.stepped = host.hear = lambda *_: None  # type: ignore[method-assign,assignment]
    with pytest.raises(AssertionError, match="a quorum talks, but there is no leader for"):
        calm.wait(10_000)


@pytest.mark.parametrize("jump_ms", [60_000, 300_000])
def test_a_jump_of_the_leader_s_clock_is_not_early_by_that_clock(jump_ms: int) -> None:
    """The machine may have slept: a holder there measures by the same clock."""
    calm = Calm()
    lease, _ = calm.lease(2)
    leader = calm.leader
    sent_ms = leader.clock.now_ms()
    reply, _ = calm.ask(f"renew {lease}", in_log=False)
    assert reply == f"RENEW response: {lease} for 2 s"
    leader.clock.jump(jump_ms)
    calm.ended(lease)
    assert leader.clock.now_ms() >= sent_ms + counted_ms(2000)


def test_machine_that_slept_ends_nothing_once_another_leads() -> None:
    """A machine that slept for minutes expires no lease once another node leads."""
    calm = Calm()
    lease, _ = calm.lease(2)
    slept = calm.leader
    slept.pause()
    calm.until(lambda: any(host is not slept for host, _ in leaders(calm.hosts)))
    end_ms = calm.world.now_ms + 125_000
    while calm.world.now_ms < end_ms:
        calm.wait(1000)
        reply, sent_ms = calm.ask(f"renew {lease}", in_log=False)
        assert reply == f"RENEW response: {lease} for 2 s"
    slept.resume()
    assert calm.ended(lease) >= sent_ms + counted_ms(2000)


def test_follower_with_a_jumped_clock_grants_the_whole_time() -> None:
    """A follower whose clock jumped grants the whole TTL when it leads."""
    calm = Calm()
    lease, _ = calm.lease(2)
    leader = calm.leader
    jumped = next(host for host in calm.hosts if host is not leader)
    jumped.clock.jump(300_000)
    calm.wait(1000)
    reply, sent_ms = calm.ask(f"renew {lease}", in_log=False)
    assert reply == f"RENEW response: {lease} for 2 s"
    leader.take(Transfer(jumped.name))
    elected_ms = calm.until(lambda: calm.leader is jumped)
    ended_ms = calm.ended(lease)
    assert sent_ms + 2000 <= elected_ms + counted_ms(2000) <= ended_ms
    assert ended_ms <= elected_ms + counted_ms(2000) + 2 * ROUND_MS
