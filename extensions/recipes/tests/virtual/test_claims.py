"""Locks and jobs by `hold`, `unhold`, `abandon`, `enqueue` and `dequeue` in schedules of faults:
the seats of those who are certain of them fit together, tokens grow, no acknowledged job is lost,
and an abandoned claim gets nothing by a late line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import count, islice
from typing import Any

import pytest

from raftline.recipes import command_effects
from raftline_testing.runner.at_night import at_night, in_the_rest
from raftline_testing.virtual.drawing import run_or_draw
from raftline_testing.virtual.schedule import SimulationFailed, run
from raftline_testing.virtual.schedule_key import ScheduleKey

COVERED = (
    "seats had",
    "seats beside others",
    "claims in line",
    "workers in line",
    "jobs delivered",
    "jobs handed over",
    "jobs ended",
    "claims abandoned",
    "late lines refused",
)


@pytest.mark.parametrize(
    ("first", "schedules"), [(0, 1), in_the_rest(105, 24), *at_night((0, 31), (900, 99))]
)
def test_a_seat_has_one_holder_and_no_job_is_lost(first: int, schedules: int) -> None:
    counts = Counter[str]()
    with_claims = (seed for seed in count(first) if ScheduleKey(seed).plan().claims)
    for seed in islice(with_claims, schedules):
        counts += run_or_draw(seed).counts
    assert schedules == 1 or [name for name in COVERED if not counts[name]] == []


def serves_nobody(store: Any, prefix: str) -> None:
    """Leave the line alone."""


def gives_every_seat(store: Any, prefix: str, mode: str, waiting: int) -> str:
    """Give a seat to everybody."""
    return "0001" if mode == "2" else mode


def drops_the_job(store: Any, prefix: str, digits: str, count: str) -> None:
    """Forget a job that was held."""


def forgets_who_is_gone(store: Any, prefix: str, claim: str) -> bool:
    """Give to abandoned claims as well."""
    return False


@pytest.mark.parametrize(
    ("name", "bug", "seed", "words"),
    [
        ("_seat_line", serves_nobody, 2, "waits for a free seat"),
        ("_free_seat", gives_every_seat, 32, "one seat twice"),
        ("_give_back", drops_the_job, 1, "in no place"),
        ("_is_gone", forgets_who_is_gone, 894, "an abandoned claim has .*c/jobs/"),
        ("_is_gone", forgets_who_is_gone, 262, "an abandoned claim has .*c/gate/"),
    ],
)
@pytest.mark.slow
def test_a_schedule_finds_the_bug(
    name: str,
    bug: Callable[..., Any],
    seed: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(command_effects, name, bug)
    with pytest.raises(SimulationFailed, match=words):
        run(seed)
