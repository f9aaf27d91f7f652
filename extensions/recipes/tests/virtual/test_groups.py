"""Shards, barriers and a party in schedules of faults: one owner each, nobody passes early."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from raftline.clients.calls.calls import CALLS, Ask
from raftline.clients.calls.transaction import Transaction, itself
from raftline.clients.calls.value_codec import TEXT
from raftline.recipes import command_effects
from raftline.recipes.groups.barrier_steps import BarrierSteps
from raftline.recipes.groups.partition_steps import PartitionSteps, index_in
from raftline.recipes.groups.party_steps import JoinSteps
from raftline.recipes.locks.recipe_calls import Seat
from raftline.state.store import Store
from raftline_testing.runner.at_night import at_night, in_the_rest
from raftline_testing.virtual.schedule import SimulationFailed, run
from raftline_testing.virtual.seeds import counts_of

SCHEDULES, STEPS, PROGRAMS = 6, 3000, 12
COVERED = (
    "shards had",
    "shares lost",
    "barriers passed",
    "barriers left together",
    "gates passed",
    "parties left",
    "members whose lease ended",
)


@pytest.mark.parametrize(
    ("first", "count"),
    [
        (0, 1),
        in_the_rest(10, SCHEDULES),
        in_the_rest(246, 1),  # a watch lists its keys again amid a wait for a job
        *at_night((SCHEDULES, 10), (100, 200)),
    ],
)
def test_a_shard_has_one_owner_and_nobody_passes_a_barrier_early(first: int, count: int) -> None:
    counts = counts_of(first, count, steps=STEPS, lockers=PROGRAMS)
    assert count == 1 or [name for name in COVERED if not counts[name]] == []


def takes_without_condition(claim: Any, share: Any, numbers: list[int], division: Any) -> Any:
    """Take shards that another member may have taken meanwhile."""
    lease, keys = share._lease, claim._keys
    taking = Transaction(TEXT, itself).then
    for number in numbers:
        taking.set(keys.shard(number), lease._claim_name, lease=lease.id)
    return index_in((yield Ask(taking.stat(keys.shard(numbers[0])).commit())))


FREE_SEAT = command_effects._free_seat


def begins_too_early(store: Store, prefix: str, mode: str, waiting: int, begin: int = 1) -> str:
    """Begin a round with one claim too few."""
    return FREE_SEAT(store, prefix, mode, waiting + 1, begin)


def passes_a_closed_gate(claim: Any) -> Any:
    """Ask, and pass whatever the answer is."""
    yield Ask(CALLS.exists(claim._keys.closed))
    return True


def leaves_early(claim: Any, held: Any, timeout: Any) -> Any:
    """Leave, and do not wait for the others."""
    yield from held._releasing()
    return True


def joins_without_a_key(claim: Any, attempt: Any, value: str, **_: Any) -> Any:
    """Return a seat, and set no key."""
    key = f"{claim._keys.members}{attempt.lease._claim_name}"
    yield Ask(CALLS.stat(key))
    return Seat(key, 1)


def joins_without_a_lease(claim: Any, attempt: Any, value: str, **_: Any) -> Any:
    """Set a key that stays when its program dies."""
    key = f"{claim._keys.members}{attempt.lease._claim_name}"
    joining = Transaction(TEXT, itself).then.set(key, value)
    return Seat(key, index_in((yield Ask(joining.stat(key).commit()))))


def takes_nothing_back(claim: Any, attempt: Any) -> Any:
    """Keep what a claim has asked for in vain."""
    attempt.lease = None
    yield from ()


@pytest.mark.parametrize(
    ("steps", "name", "bug", "seed", "words"),
    [
        (PartitionSteps, "_taking", takes_without_condition, 9, "for certain"),
        (command_effects, "_free_seat", begins_too_early, 0, "begins with"),
        (BarrierSteps, "_is_open", passes_a_closed_gate, 1, "closed gate"),
        (BarrierSteps, "_leaving", leaves_early, 10, "it is not over"),
        (JoinSteps, "_dropping", takes_nothing_back, 15, "have their locks within"),
        (JoinSteps, "_holding", joins_without_a_key, 1, "is not listed"),
        (JoinSteps, "_holding", joins_without_a_lease, 1, "is gone, and is listed"),
    ],
)
@pytest.mark.slow
def test_a_schedule_finds_the_bug(
    steps: Any,
    name: str,
    bug: Callable[..., Any],
    seed: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(steps, name, bug)
    with pytest.raises(SimulationFailed, match=words):
        run(seed, steps=STEPS, lockers=PROGRAMS)
