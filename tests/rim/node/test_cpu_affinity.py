"""A busy node keeps its threads on one core, and leaves it for one that has more to give."""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Iterator

import pytest

from raftline.common.process.wakeup import Wakeup
from raftline.node.program import cpu_affinity
from raftline.node.program.cpu_affinity import (
    CoreChooser,
    CpuUse,
    choose,
    core_chooser,
    look,
    move_threads,
)

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
    assert core_chooser() is None


@pytest.mark.parametrize(
    "trouble",
    [OSError(errno.EMFILE, "Too many open files"), KeyError("no such core"), IndexError()],
)
def test_a_node_chooses_a_core_again_after_a_failed_sample(
    monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    samples: Iterator[Exception | CpuUse]
    samples = iter([trouble, BEFORE, after(0.9, 50_000, 0.1, 0.6), trouble])
    moved: list[set[int]] = []

    def sample(_: object) -> CpuUse:
        found = next(samples)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(cpu_affinity, "look", sample)
    monkeypatch.setattr(cpu_affinity, "move_threads", moved.append)
    monkeypatch.setattr(cpu_affinity, "PERIOD_S", (0.001, 0.002))
    assert not CoreChooser({0, 1}).rest(Wakeup())
    assert moved == [{1}]


def test_a_node_that_is_asked_to_stop_chooses_no_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_affinity, "look", lambda _: pytest.fail("it looked"))
    end = Wakeup()
    end.set()
    assert CoreChooser({0, 1}).rest(end)
