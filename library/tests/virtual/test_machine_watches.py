"""The machine of clients' watches in schedules of faults: each event once, and none is missed."""

from __future__ import annotations

import pytest

from raftline.clients.watches import watch_events
from raftline.clients.watches.liveness import Liveness
from raftline.clients.watches.watch_events import Event, WatchCursor
from raftline.harness.virtual import agents
from raftline.wire.commands.watch_lines import WatchAsked
from raftline_testing.runner.at_night import at_night, in_the_rest
from raftline_testing.virtual.seeds import counts_of, first_failure

SCHEDULES, STEPS = 20, 2000
COVERED = ("keys", "events", "refused", "came anew", "went on")


@pytest.fixture(autouse=True)
def many_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put three of them into each schedule."""
    monkeypatch.setattr(agents, "MACHINES", (3,))


@pytest.mark.parametrize(
    ("first", "count"), [(0, 1), in_the_rest(55, SCHEDULES), *at_night((100, 300))]
)
def test_each_event_comes_once_and_each_wait_ends_in_time(first: int, count: int) -> None:
    counts = counts_of(first, count, steps=STEPS)
    assert (
        count == 1 or [name for name in COVERED if not counts[f"machines' watches: {name}"]] == []
    )


@pytest.mark.slow
def test_a_watch_that_continues_some_entries_late_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    formatted = watch_events.format_watch

    def late(asked: WatchAsked) -> str:
        return formatted(asked._replace(after=asked.after and asked.after + 5))

    monkeypatch.setattr(watch_events, "format_watch", late)
    assert "InvariantError: machine" in first_failure(range(SCHEDULES), steps=STEPS)


@pytest.mark.slow
def test_an_event_that_comes_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = WatchCursor._changed

    def twice(cursor: WatchCursor[str], *what: object) -> list[Event[str]]:
        cursor._count = 0
        return changed(cursor, *what)  # type: ignore[arg-type]

    monkeypatch.setattr(WatchCursor, "_changed", twice)
    assert "InvariantError: machine" in first_failure(range(SCHEDULES), steps=STEPS)


@pytest.mark.nightly  # 90 s of virtual time go by
def test_a_watch_that_stays_at_a_silent_node_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Liveness, "is_dead", lambda *_: False)
    found = first_failure(range(1, 4 * SCHEDULES), steps=STEPS, faults=("failing disk",))
    assert "does not bring its watches up to date" in found
