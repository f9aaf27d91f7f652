"""A busy node keeps its threads on one core, and leaves it for one that has more to give."""

from __future__ import annotations

import errno
import os
import sys
import threading

import pytest

from raftline.node.program import cpu_affinity
from raftline.node.program.cpu_affinity import CpuUse, begin_to_watch, choose, look, move_threads
from raftline_testing.nodes.processes import eventually

BEFORE = CpuUse(0.0, 0.0, 0, {0: 0.0, 1: 0.0})


def after(used: float, switches: int, *idle: float) -> CpuUse:
    """The use and the idle time of one second; cores 0 and 1."""
    return CpuUse(1.0, used, switches, dict(enumerate(idle)))


@pytest.mark.parametrize(
    ("now", "chosen", "found"),
    [
        (after(0.9, 50_000, 0.1, 0.6), None, 1),  # busy and hopping: where there is most room
        (after(0.25, 5_000, 0.5, 0.6), None, 1),  # as by the sets of one connection
        (after(0.15, 50_000, 0.5, 0.6), None, None),  # not busy
        (after(0.9, 500, 0.1, 0.6), None, None),  # busy with one thing
        (after(0.7, 20_000, 0.3, 0.5), 0, 0),  # at home: another core has no more than this one
        (after(0.3, 9_000, 0.0, 0.9), 0, 1),  # somebody else uses this core
        (after(0.6, 9_000, 0.0, 0.8), 0, 0),  # a little more is not worth a move
        (after(0.05, 300, 0.9, 0.9), 0, None),  # not busy any more
    ],
)
def test_busy_node_moves_to_the_core_with_most_free_time(
    now: CpuUse, chosen: int | None, found: int | None
) -> None:
    """It moves only if that core has clearly more free time."""
    assert choose(BEFORE, now, chosen) == found


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="there is no /proc")
def test_all_threads_are_bound_and_released_together() -> None:
    allowed = os.sched_getaffinity(0)
    end, ids = threading.Event(), []
    begun = threading.Barrier(2)

    def wait() -> None:
        ids.append(threading.get_native_id())
        begun.wait(60)
        end.wait(60)

    thread = threading.Thread(target=wait)
    thread.start()
    begun.wait(60)
    try:
        one = {min(allowed)}
        move_threads(one)
        assert os.sched_getaffinity(ids[0]) == os.sched_getaffinity(0) == one
        move_threads(allowed)
        assert os.sched_getaffinity(ids[0]) == os.sched_getaffinity(0) == allowed
    finally:
        move_threads(allowed)
        end.set()
        thread.join(60)


@pytest.mark.skipif(not os.path.exists("/proc/stat"), reason="there is no /proc")
def test_a_sample_measures_this_process_and_the_given_cores() -> None:
    cores = os.sched_getaffinity(0)
    first = look(cores)
    sum(range(2_000_000))
    second = look(cores)
    assert second.at_s > first.at_s
    assert second.used_s > first.used_s
    assert set(second.idle_s) == set(cores)


def test_no_core_is_chosen_without_an_interpreter_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    before = {*threading.enumerate()}
    begin_to_watch("s1", lambda _: None)
    assert {*threading.enumerate()} <= before


@pytest.mark.parametrize(
    "trouble", [OSError(errno.EMFILE, "Too many open files"), KeyError("no such core")]
)
def test_the_core_watcher_continues_after_a_failed_sample(
    monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    looks = 0

    def look_in_vain(_: object) -> CpuUse:
        nonlocal looks
        looks += 1
        raise trouble if looks < 4 else SystemExit  # or it would continue to watch this process

    monkeypatch.setattr(cpu_affinity, "look", look_in_vain)
    monkeypatch.setattr(cpu_affinity, "PERIOD_S", (0.001, 0.002))
    complaints: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", complaints.append)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    begin_to_watch("s1", lambda _: None)
    eventually(lambda: looks == 4)
    assert complaints == []
