"""The writer thread when it is asked to give up, or fails, while more waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from raftline.node.loop.writer import Writer
from raftline.raft.effects import Effects, HardState
from raftline_testing.nodes.processes import eventually

DEADLINE_S = 30.0


class StandingDisk:
    """Files whose first write takes until it is asked to go on."""

    def __init__(self) -> None:
        self.written: list[int] = []
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.error: Exception | None = None

    def write(self, works: Sequence[Effects]) -> None:
        self.begun.set()
        assert self.may_end.wait(DEADLINE_S)
        if self.error is not None:
            raise self.error
        self.written += [work.save.term for work in works if work.save is not None]

    def note_mark(self) -> None:
        pass


class Scene:
    """A writer in the middle of its first write, with two more steps waiting."""

    def __init__(self) -> None:
        self.disk = StandingDisk()
        self.core = threading.Lock()
        self.failures: list[Exception] = []
        self.writer = Writer(self.disk, self.core, self._written, self.failures.append)
        self.thread = threading.Thread(target=self.writer.run, daemon=True)
        self.thread.start()
        self.add(1)
        assert self.disk.begun.wait(DEADLINE_S)
        self.add(2)
        self.add(3)

    def _written(self, durable: object) -> None:
        with self.core:
            self.writer.queue.take_written()

    def add(self, term: int) -> None:
        with self.core:
            self.writer.queue.add((Effects(save=HardState(term, None)), None))
        self.writer.wake()

    def end(self) -> None:
        self.disk.may_end.set()
        self.writer.stop()
        self.thread.join(DEADLINE_S)
        assert not self.thread.is_alive()


@pytest.fixture
def scene() -> Iterator[Scene]:
    one = Scene()
    yield one
    one.end()


def in_a_thread(act: Callable[[], bool]) -> tuple[threading.Thread, list[bool]]:
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(act()), daemon=True)
    thread.start()
    return thread, results


def test_the_writer_writes_all_that_waits_before_it_stops(scene: Scene) -> None:
    scene.end()
    assert scene.disk.written == [1, 2, 3]


class CoreThenAct:
    """The driver's lock; once it is free again something happens, the first time."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._act: Callable[[], None] | None = act

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        act, self._act = self._act, None
        if act is not None:
            act()


def test_what_comes_with_the_stop_is_written() -> None:
    """It has just seen that nothing waits."""

    def add_and_stop() -> None:
        writer.queue.add((Effects(save=HardState(1, None)), None))
        writer.stop()

    core: Any = CoreThenAct(add_and_stop)
    disk, failures = StandingDisk(), list[Exception]()
    disk.may_end.set()
    writer = Writer(disk, core, lambda _: None, failures.append)
    writer._wakeup.set()
    writer.run()
    assert (disk.written, failures) == ([1], [])


def test_after_a_broken_invariant_nothing_more_is_written(scene: Scene) -> None:
    with scene.core:
        scene.writer.abandon()
    scene.end()
    assert scene.disk.written == [1]


def test_a_wait_for_a_pause_between_writes_ends_despite_a_stalled_disk(scene: Scene) -> None:
    thread, results = in_a_thread(lambda: scene.writer.between_writes(lambda: True))
    eventually(lambda: scene.writer._jobs)
    with scene.core:
        scene.writer.abandon()
    thread.join(DEADLINE_S)
    assert results == [False]
    assert not scene.disk.may_end.is_set()


def test_a_failed_write_ends_every_wait(scene: Scene) -> None:
    scene.disk.error = OSError("no such disk")
    scene.disk.may_end.set()
    scene.thread.join(DEADLINE_S)
    assert scene.failures == [scene.disk.error]
    thread, results = in_a_thread(lambda: scene.writer.between_writes(lambda: True))
    thread.join(DEADLINE_S)
    assert results == [False]
