"""The thread that alone writes a node's files, and what waits for it.

Steps of the core leave what they want written here, in order. The writer takes *all* that waits,
writes it in one go, syncs once, and hands it back to the driver, which lets the messages go that
depended on it. While it writes, the core is stepped on: disk and network work in parallel.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from raftline.common.derived import mypyc_attr
from raftline.common.wakeup import Wakeup
from raftline.net.host import Origin
from raftline.node.measures import Measures
from raftline.raft.effects import Effects

WAITING_MAX: Final = 1000  # steps that may wait for the disk; then a leader takes no more requests


DiskTask = tuple[Effects, Origin | None]  # with where the message came from that asked for it
Durable = tuple[int, int]  # index and term of the last entry now on disk


def precedes_snapshots(effects: Effects) -> bool:
    """Whether this takes back a part of the log, or brings the term that a snapshot may end in: a
    node whose term is earlier than its entries does not start."""
    return any(each is not None for each in (effects.cut_after, effects.install, effects.save))


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
        self._waiting: list[DiskTask] = []
        self._writing: list[DiskTask] = []
        self._wakeup = Wakeup()
        self._jobs: deque[Job] = deque()
        self._stopping = False

    @property
    def is_busy(self) -> bool:
        """Whether anything is being written or waits to be; with `core` held."""
        return bool(self._writing or self._waiting)

    @property
    def waiting(self) -> int:
        """How many steps wait to be written, or are being written; with `core` held."""
        return len(self._writing) + len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether as much waits as may wait: a disk that stands still must not fill the memory."""
        return len(self._waiting) >= WAITING_MAX

    def add(self, work: DiskTask) -> None:
        """Have one Effects written after all that was added before; with `core` held."""
        self._waiting.append(work)
        self._wakeup.set()

    @property
    def goes_first(self) -> bool:
        """Whether what waits must be on the disk before a snapshot or a log that is begun again has
        its name; with `core` held."""
        return any(precedes_snapshots(effects) for effects, _ in self._waiting)

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
        self._waiting = []
        self.stop()
        self._end_jobs()

    def run(self) -> None:
        """Write whatever comes, until `stop`; a failure ends it at once and for good."""
        while True:
            self._wakeup.wait()
            try:
                while self._do_job() or self._write_once():
                    pass
            except Exception as error:
                with self._core:
                    self._on_failure(error)
                    self._stopping = True
                    self._end_jobs()
                return
            if self._stopping:
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

    def take_written(self) -> list[DiskTask]:
        """Hand out what was just written; with `core` held."""
        work, self._writing = self._writing, []
        return work

    def _write_once(self) -> bool:
        with self._core:
            self._writing, self._waiting = self._waiting, []
        if not self._writing:
            return False
        self._measures.disk_begins()
        durable = self._files.write([effects for effects, _ in self._writing])
        self._measures.disk_ends()
        self._on_written(durable)
        self._files.note_mark()
        return True
