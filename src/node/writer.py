"""The thread that alone writes a node's files: what waits for that stands in its WriteQueue.

When it has written, the driver lets the messages go that depended on it. While it writes, the core
is stepped on: disk and network work in parallel.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from raftline.common.derived import mypyc_attr
from raftline.common.wakeup import Wakeup
from raftline.node.measures import Measures
from raftline.node.write_queue import Durable, WriteQueue
from raftline.raft.effects import Effects


class Files(Protocol):
    """The files that the writer writes to: see LogManager."""

    def write(self, works: Sequence[Effects]) -> Durable | None: ...
    def note_mark(self) -> None: ...


class Job:
    """Something to do between two writes: `act` returns whether it is done."""

    def __init__(self, act: Callable[[], bool]) -> None:
        self.act = act
        self.is_done = False
        self.ended = threading.Lock()
        self.ended.acquire()


@mypyc_attr(allow_interpreted_subclasses=True)
class Writer:
    """Owns the writing of `NAME.log` and `NAME.storage`; `core` is the driver's lock."""

    def __init__(
        self,
        files: Files,
        core: threading.Lock,
        on_written: Callable[[Durable | None], None],
        on_failure: Callable[[Exception], None],
        measures: Measures | None = None,
    ) -> None:
        self._measures = measures or Measures()
        self._files = files
        self._core = core
        self._on_written = on_written
        self._on_failure = on_failure
        self._wakeup = Wakeup()
        self.queue = WriteQueue(self._wakeup.set)
        self._jobs: deque[Job] = deque()
        self._stopping = False

    def between_writes(self, act: Callable[[], bool]) -> bool:
        """Let the writer thread do `act` while nothing is being written, and wait for it.

        If `act` returns False, what waits is written and `act` called again. Returns False
        if the thread ended before; an error in `act` is one of writing.
        """
        job = Job(act)
        with self._core:
            if self._stopping:
                return False
            self._jobs.append(job)
        self._wakeup.set()
        job.ended.acquire()
        return job.is_done

    def stop(self) -> None:
        """Let the thread end once nothing waits any more."""
        self._stopping = True
        self._wakeup.set()

    def abandon(self) -> None:
        """Write nothing more, whatever waits; with `core` held."""
        self.queue.drop()
        self.stop()
        self._end_jobs()

    def run(self) -> None:
        """Write whatever comes, until `stop`; a failure ends it at once and for good."""
        while True:
            self._wakeup.wait()
            stops = self._stopping  # as of now: what was added before it is seen below
            try:
                while self._do_job() or self._write_once():
                    pass
            except Exception as error:
                with self._core:
                    self._on_failure(error)
                    self._stopping = True
                    self._end_jobs()
                return
            if stops:
                with self._core:
                    self._end_jobs()
                return

    def _do_job(self) -> bool:
        """Do the job that comes next; return whether there was one, and it is done."""
        if not self._jobs:
            return False
        with self._core:
            job = self._jobs[0] if self._jobs else None
        if job is None or not job.act():
            return False
        job.is_done = True
        with self._core:
            if job in self._jobs:  # else it was ended while it was being done
                self._jobs.remove(job)
                job.ended.release()
        return True

    def _end_jobs(self) -> None:
        """Let those go whose jobs nobody does any more."""
        while self._jobs:
            self._jobs.popleft().ended.release()

    def _write_once(self) -> bool:
        with self._core:
            tasks = self.queue.begin()
        if not tasks:
            return False
        self._measures.disk_begins()
        durable = self._files.write([effects for effects, _ in tasks])
        self._measures.disk_ends()
        self._on_written(durable)
        self._files.note_mark()
        return True
