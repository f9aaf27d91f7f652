"""Shards, barriers and a party in schedules of faults: one owner each, nobody passes early."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from raftline.clients.calls.calls import CALLS, Ask
from raftline.clients.calls.transaction import Transaction, itself
from raftline.clients.calls.value_codec import TEXT
from raftline.clients.locks.barrier_steps import BarrierSteps
from raftline.clients.locks.partition_steps import PartitionSteps
from raftline.clients.locks.party_steps import JoinSteps, index_in
from raftline_testing.runner.at_night import at_night, in_the_rest
from raftline_testing.virtual.schedule import SimulationFailed, run
from raftline_testing.virtual.seeds import counts_of

SCHEDULES, STEPS, PROGRAMS = 8, 3000, 12
COVERED = (
    "shards had",
    "shares lost",
    "barriers passed",
    "gates passed",
    "parties left",
    "members whose lease ended",
)


@pytest.mark.parametrize(
    ("first", "count"), [(0, 1), in_the_rest(0, SCHEDULES), *at_night((100, 200))]
)
def test_a_shard_has_one_owner_and_nobody_passes_a_barrier_early(first: int, count: int) -> None:
    counts = counts_of(first, count, steps=STEPS, lockers=PROGRAMS)
    assert count == 1 or [name for name in COVERED if not counts[name]] == []


def takes_without_condition(claim: Any, lease: str, numbers: list[int]) -> Any:
    """Take shards that another member may have taken meanwhile."""
    taking = Transaction(TEXT, itself).then
    for number in numbers:
        taking.set(claim._keys.shard(number), lease, lease=lease)
    yield Ask(taking.commit())


def begins_too_early(claim: Any) -> Any:
    """Begin a round with one program."""
    yield Ask(CALLS.set(claim._keys.round, "1"))
    return True


def passes_a_closed_gate(claim: Any) -> Any:
    """Ask, and pass whatever the answer is."""
    yield Ask(CALLS.exists(claim._keys.closed))
    return True


def joins_without_a_key(claim: Any, key: str, value: str, lease: str) -> Any:
    """Return a token, and set no key."""
    yield Ask(CALLS.stat(key))
    return 1


def joins_without_a_lease(claim: Any, key: str, value: str, lease: str) -> Any:
    """Set a key that stays when its program dies."""
    joining = Transaction(TEXT, itself).then.set(key, value)
    return index_in((yield Ask(joining.stat(key).commit())))


@pytest.mark.parametrize(
    ("steps", "name", "bug", "seed", "words"),
    [
        (PartitionSteps, "_taking", takes_without_condition, 8, "for certain"),
        (BarrierSteps, "_is_full", begins_too_early, 0, "begins with"),
        (BarrierSteps, "_is_open", passes_a_closed_gate, 0, "closed gate"),
        (JoinSteps, "_adding", joins_without_a_key, 0, "is not listed"),
        (JoinSteps, "_adding", joins_without_a_lease, 0, "is gone, and is listed"),
    ],
)
@pytest.mark.slow
def test_a_schedule_finds_the_bug(
    steps: type,
    name: str,
    bug: Callable[..., Any],
    seed: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(steps, name, bug)
    with pytest.raises(SimulationFailed, match=words):
        run(seed, steps=STEPS, lockers=PROGRAMS)
