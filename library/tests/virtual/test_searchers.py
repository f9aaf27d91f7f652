"""Clients' own search in schedules of faults: a write is done once, each call ends in time."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from raftline.clients.requests import search
from raftline.clients.requests.search import NodeTurns
from raftline.common.address import Address
from raftline.harness.virtual.searchers import Searcher
from raftline_testing.runner.at_night import at_night, in_the_rest
from raftline_testing.virtual import schedule_key
from raftline_testing.virtual.seeds import counts_of, first_failure
from raftline_testing.virtual.world.plan import Plan, pick_plan

SCHEDULES, STEPS = 12, 3000
COVERED = (
    "attempts lost",
    "nodes reached before one that hangs",
    "searches begun anew",
    "searches in vain",
    "searches that don't know",
    "searches that found",
    "waits for a session",
)


@pytest.fixture(autouse=True)
def many_searchers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put three of them into each schedule, connections that break, and writes without a number."""
    monkeypatch.setattr(Searcher, "numbered", 4)

    def pick(chance: random.Random, nodes: int | None = None, faults: Sequence[str] = ()) -> Plan:
        plan = pick_plan(chance, nodes, faults)
        return replace(plan, searchers=3, clients=1, dealers=0, loss=max(plan.loss, 0.05))

    monkeypatch.setattr(schedule_key, "pick_plan", pick)


@pytest.mark.parametrize(
    ("first", "count"), [(0, 1), in_the_rest(0, SCHEDULES), *at_night((100, 300))]
)
def test_a_write_is_done_once_and_each_call_ends_in_time(first: int, count: int) -> None:
    counts = counts_of(first, count, steps=STEPS)
    assert count == 1 or [name for name in COVERED if not counts[name]] == []


@pytest.mark.slow
def test_search_repeating_a_write_without_its_number_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A search that sends a write again without its number is found."""
    ask = search._ask

    def bare(address: Address, sender: str, *more: object) -> object:
        return ask(address, sender.partition("#")[0], *more)  # type: ignore[arg-type]

    monkeypatch.setattr(search, "_ask", bare)
    assert "AssertionError" in first_failure(range(SCHEDULES), steps=STEPS)


@pytest.mark.nightly  # a search asks the same node a million times before that is found
def test_a_search_that_never_turns_to_another_node_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(NodeTurns, "move_on", lambda *_: None)
    found = first_failure(range(5, 5 + SCHEDULES), steps=STEPS)
    assert "does not let itself be found" in found
