"""The writer thread: all is written in order, each job is done or given up, and it ends."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from raftline.common.process.mutex import Mutex
from raftline.node.loop import writer as writers
from raftline.node.loop.writer import WriteQueue, Writer
from raftline.raft.effects import Effects, HardState
from raftline_testing.interleave.scenarios import check_interleavings, seeds

LINES = (writers,)
STEPS = 4


class Disk:
    """Files that keep the terms that were written. A write may fail, or take for ever."""

    def __init__(self, fails_at: int = 0, stands_at: int = 0) -> None:
        self.terms: list[int] = []
        self._fails_at, self._stands_at = fails_at, stands_at
        self.is_writing = False

    def write(self, works: Sequence[Effects]) -> tuple[int, int] | None:
        self.is_writing = True
        for work in works:
            assert work.save is not None
            if work.save.term == self._fails_at:
                raise OSError("the disk failed")
            if work.save.term == self._stands_at:
                threading.Event().wait()
            self.terms.append(work.save.term)
        self.is_writing = False
        return None

    def note_mark(self) -> None:
        assert not self.is_writing


class Scene:
    """A writer, and the driver's part of it."""

    def __init__(self, **faults: int) -> None:
        self.core = Mutex(WriteQueue())
        self.disk = Disk(**faults)
        self.written: list[int] = []
        self.has_failed = False
        self.failures: list[Exception] = []
        self.jobs: list[tuple[bool, int]] = []  # whether each was done, and how often
        files: Any = self.disk
        with self.core as queue:
            self.writer = Writer(files, queue, self.core, self._took, self._failed)
        self.thread = threading.Thread(target=self.writer.run, name="writer")

    def _took(self, _: object) -> None:
        with self.core:
            taken = self.writer.queue.take_written()
            self.written += [effects.save.term for effects, _ in taken if effects.save is not None]

    def _failed(self, _: WriteQueue, error: Exception) -> None:
        self.failures.append(error)
        self.has_failed = True
        self.writer.abandon()

    def step(self) -> None:
        for term in range(1, STEPS + 1):
            with self.core:
                if self.has_failed:  # then nobody steps the core any more
                    return
                self.writer.queue.add((Effects(save=HardState(term, None)), None))
            self.writer.wake()

    def job(self) -> None:
        """Do something between two writes: at the second call it is done."""
        calls: list[bool] = []

        def act() -> bool:
            assert not self.disk.is_writing
            calls.append(True)
            with self.core:
                return len(calls) > 1 or not self.writer.queue.is_busy

        self.jobs.append((self.writer.between_writes(act), len(calls)))

    def run(self, end: Any = None) -> None:
        """Make two threads give it jobs, while another steps the core, and one may end it."""
        work = [
            threading.Thread(target=self.job, name="snapshot"),
            threading.Thread(target=self.step, name="driver"),
            threading.Thread(target=self.job, name="backup"),
        ]
        ending = [threading.Thread(target=end, name="end")] if end is not None else []
        for thread in (self.thread, *work, *ending):
            thread.start()
        for thread in (*work, *ending):
            thread.join()


def it_stops() -> None:
    """It is stopped as soon as the last step is there, whatever it does just then."""
    scene = Scene()
    scene.thread.start()
    scene.step()
    scene.writer.stop()
    scene.thread.join()
    assert scene.written == scene.disk.terms == list(range(1, STEPS + 1))


def it_does_all_jobs() -> None:
    scene = Scene()
    scene.run()
    scene.writer.stop()
    scene.thread.join()
    assert scene.written == scene.disk.terms == list(range(1, STEPS + 1))
    assert [done for done, _ in scene.jobs] == [True, True]
    assert scene.failures == []


def it_is_abandoned(**faults: int) -> None:
    """Each job comes back, done or not, and what is not being written is never written."""
    scene = Scene(**faults)
    may_be_written: list[int] = []

    def end() -> None:
        with scene.core:
            scene.has_failed = True
            under_way = [effects.save for effects, _ in scene.writer.queue.writing]
            may_be_written.extend(scene.disk.terms)
            may_be_written.extend(save.term for save in under_way if save is not None)
            scene.writer.abandon()

    scene.run(end)
    if not faults:
        scene.thread.join()
    assert set(scene.disk.terms) <= set(may_be_written)
    assert scene.disk.terms == list(range(1, len(scene.disk.terms) + 1))
    for done, calls in scene.jobs:
        assert calls > 0 or not done


def its_disk_stands_still() -> None:
    """Nobody waits for it any more, once the writer is abandoned."""
    it_is_abandoned(stands_at=2)


def its_disk_fails() -> None:
    scene = Scene(fails_at=2)
    scene.run()
    scene.thread.join()
    assert scene.disk.terms == [1]
    assert [str(error) for error in scene.failures] == ["the disk failed"]


@seeds(100, 30_000)
def test_a_writer_that_is_stopped_has_written_all(seeds: range) -> None:
    check_interleavings(it_stops, seeds, LINES)


@seeds(100, 30_000)
def test_all_is_written_in_order_and_each_job_is_done(seeds: range) -> None:
    check_interleavings(it_does_all_jobs, seeds, LINES)


@seeds(100, 30_000)
def test_a_writer_that_is_abandoned_holds_nobody(seeds: range) -> None:
    check_interleavings(it_is_abandoned, seeds, LINES)


@seeds(100, 30_000)
def test_a_disk_that_stands_still_holds_nobody(seeds: range) -> None:
    check_interleavings(its_disk_stands_still, seeds, LINES)


@seeds(100, 30_000)
def test_a_failed_write_ends_it_and_every_wait(seeds: range) -> None:
    check_interleavings(its_disk_fails, seeds, LINES)
