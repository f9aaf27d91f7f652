"""Watchers that read lines, in schedules of faults (workloads/watcher_machine.py)."""

from __future__ import annotations

from collections import Counter

import pytest

from raftline.wire.commands import watch_lines
from raftline_testing.runner.parts import whole
from raftline_testing.virtual.seeds import counts_of, first_failure

SEEDS = (17, 58)  # of schedules in which a watch is ended by `unwatch`, and goes on elsewhere
EACH = ("that began", "that went on", "ended by unwatch")


def test_watches_over_lines_get_each_event_once() -> None:
    counts = sum((counts_of(seed, 1) for seed in SEEDS), Counter[str]())
    assert counts["events over lines"]
    assert not [name for name in EACH if not counts[f"watches over lines {name}"]], counts


@pytest.mark.pure  # a function of a compiled module can't be replaced
@whole
def test_unwatch_that_skips_events_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = watch_lines.ended
    monkeypatch.setattr(watch_lines, "ended", lambda number: ended(number + 3))
    assert " without (3, 'set', " in first_failure(SEEDS)
