"""The queue before the disk, and the thread that alone writes a node's files.

The thread takes *all* steps that wait, in order, writes once, and syncs once. Then the driver lets
the messages go that depended on it. Meanwhile the core is stepped on: disk and network work in
parallel. `WriteQueue` has no thread and no file, so a schedule uses it as it is.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Final, Protocol

from ..common.derived import mypyc_attr
from ..common.wakeup import Wakeup
from ..net.host import Origin
from ..raft.effects import Effects
from .measures import Measures

# What may wait for the disk. Beyond it a leader takes no more requests, and a step that only
# answers is dropped.
WAITING_MAX = 1000  # steps
WAITING_BYTES: Final = 64 << 20  # characters of entries

DiskTask = tuple[Effects, Origin | None]  # with where the message came from that asked for it
_EFFECTS: Final = itemgetter(0)  # of a task
Durable = tuple[int, int]  # index and term of the last entry now on disk


def precedes_snapshots(effects: Effects) -> bool:
    """Whether this takes back a part of the log, or brings the term that a snapshot may end in: a
    node whose term is earlier than its entries does not start."""
    cuts = effects.cut_after is not None or effects.install is not None
    return cuts or effects.save is not None


class WriteQueue:
    """Keeps each step from when it was taken until it is on the disk.

    Whoever calls holds the driver's `core` lock.
    """

    def __init__(self, on_added: Callable[[], None] | None = None) -> None:
        """Begin empty; `on_added` is called when there is something to write. Without it the caller
        of `add` looks after that: see `Writer.wake`."""
        self._on_added = on_added
        self.waiting: list[DiskTask] = []
        self.writing: list[DiskTask] = []  # another list for each write
        self._waiting_bytes = 0  # of the entries in `waiting`

    @property
    def is_busy(self) -> bool:
        """Whether anything is being written or waits to be."""
        return bool(self.writing or self.waiting)

    @property
    def count(self) -> int:
        """How many steps wait to be written, or are being written."""
        return len(self.writing) + len(self.waiting)

    @property
    def is_full(self) -> bool:
        """Whether as much waits as may wait: a disk that hangs must not fill the memory."""
        return len(self.waiting) >= WAITING_MAX or self._waiting_bytes >= WAITING_BYTES

    @property
    def holds_promise(self) -> bool:
        """Whether a term, a vote, a lease or a mark of lost memory waits for the disk, or is being
        written: nothing overtakes these (paper, Figure 2)."""
        return any(effects.holds_promise for effects, _ in (*self.writing, *self.waiting))

    @property
    def goes_first(self) -> bool:
        """Whether what waits must be on the disk before a snapshot or a log that is begun again has
        its name."""
        return any(precedes_snapshots(effects) for effects, _ in self.waiting)

    def add(self, task: DiskTask) -> None:
        """Have one Effects written after all that was added before."""
        self.waiting.append(task)
        for entry in task[0].append:
            self._waiting_bytes += len(entry.command)
        if self._on_added is not None:
            self._on_added()

    def begin(self) -> list[DiskTask]:
        """Hand out all that waits, to be written now; nothing may be being written."""
        self.writing, self.waiting = self.waiting, []
        self._waiting_bytes = 0
        return self.writing

    def take_written(self) -> list[DiskTask]:
        """Hand out what was just written."""
        written, self.writing = self.writing, []
        return written

    def drop(self) -> None:
        """Forget all that waits."""
        self.waiting = []
        self._waiting_bytes = 0


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
        self.queue = WriteQueue()
        self._jobs: deque[Job] = deque()
        self._stopping = False

    def wake(self) -> None:
        """Have the thread write what waits. Its first move takes `core`: whoever added something
        calls this once `core` is free again, or both would be woken twice. While it writes it needs
        no call: it looks for more after each write.
        """
        if not self.queue.writing:
            self._wakeup.set()

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
                while (self._jobs and self._do_job()) or self._write_once():
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
        """Write what waits; return whether more is to be written or done by now."""
        with self._core:
            tasks = self.queue.begin()
        if not tasks:
            return False
        self._measures.disk_begins()
        durable = self._files.write(list(map(_EFFECTS, tasks)))
        self._measures.disk_ends()
        self._on_written(durable)
        self._files.note_mark()
        return bool(self.queue.waiting or self._jobs)
