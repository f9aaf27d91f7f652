"""The event loop that chooses by a seed: what it finds, and that it repeats."""

from __future__ import annotations

import asyncio
import time

import pytest

from raftline_testing.interleave.scenarios import check_interleavings, first_failure
from raftline_testing.interleave.threads import Stuck


async def lost_update() -> None:
    value = 0

    async def add() -> None:
        nonlocal value
        seen = value
        await asyncio.sleep(0)
        value = seen + 1

    await asyncio.gather(add(), add())
    assert value == 2


async def first_in_first_out() -> None:
    """Tasks are not a queue: the loop may have them in any order."""
    came: list[int] = []

    async def come(number: int) -> None:
        came.append(number)

    await asyncio.gather(*(come(number) for number in range(3)))
    assert came == [0, 1, 2]


async def deadlock() -> None:
    await asyncio.get_running_loop().create_future()


async def endless() -> None:
    while True:
        await asyncio.sleep(0)


@pytest.mark.parametrize("scenario", [lost_update, first_in_first_out])
def test_a_fault_is_found_and_repeats(scenario: object) -> None:
    first, second = (
        first_failure(scenario, range(50))  # type: ignore[arg-type]
        for _ in range(2)
    )
    assert first is not None
    assert second is not None
    assert (first.seed, first.switches) == (second.seed, second.switches)
    assert f"SEED={first.seed}" in str(first)


@pytest.mark.parametrize("scenario", [deadlock, endless])
def test_program_that_hangs_or_does_not_end_is_ended(scenario: object) -> None:
    failure = first_failure(scenario, range(1))  # type: ignore[arg-type]
    assert failure is not None
    assert isinstance(failure.error, Stuck)


def test_time_passes_where_all_wait() -> None:
    async def sleeps() -> None:
        begun_s = time.monotonic()
        await asyncio.gather(asyncio.sleep(5), asyncio.sleep(2))
        assert 5 <= time.monotonic() - begun_s < 5.1

    check_interleavings(sleeps, range(20))


def test_callbacks_that_are_not_tasks_keep_their_order() -> None:
    async def calls() -> None:
        came: list[int] = []
        for number in range(5):
            asyncio.get_running_loop().call_soon(came.append, number)
        await asyncio.sleep(0.1)
        assert came == list(range(5))

    check_interleavings(calls, range(20))
