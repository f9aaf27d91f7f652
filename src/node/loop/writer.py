"""The queue in front of the disk, and the only thread that writes a node's files.

The thread takes *all* waiting steps, in order, writes once, and syncs once. Then the driver sends
the messages that depended on the write. Meanwhile other threads continue to step the core: disk and
network work in parallel. `WriteQueue` has no thread and no file, so a schedule uses it as it is.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Final, Generic, Protocol, TypeVar

from ...common.mypyc_compat import mypyc_attr
from ...common.process.mutex import Mutex
from ...common.process.wakeup import Wakeup
from ...net.protocol.host import Origin
from ...raft.effects import Effects
from .measures import Measures

# Bounds on what may wait for the disk. Beyond them a leader accepts no more requests, and a step
# that only answers is dropped.
WAITING_MAX = 1000  # steps
WAITING_BYTES: Final = 64 << 20  # characters of entries

DiskTask = tuple[Effects, Origin | None]  # a step, and the source of the message that caused it
Core = TypeVar("Core")  # what the lock `core` owns
_EFFECTS: Final = itemgetter(0)  # of a task
Durable = tuple[int, int]  # index and term of the last entry now on disk


def precedes_snapshots(effects: Effects) -> bool:
    """Whether these Effects cut the log, or save the term that a snapshot may end in: a node does
    not start if its saved term is earlier than its entries."""
    cuts = effects.cut_after is not None or effects.install is not None
    return cuts or effects.save is not None


class WriteQueue:
    """Keeps each step until it is on the disk.

    The caller holds the driver's `core` lock.
    """

    def __init__(self, on_added: Callable[[], None] | None = None) -> None:
        """Begin empty; `on_added` is called when there is something to write. Without it, the
        caller of `add` wakes the writer: see `Writer.wake`."""
        self._on_added = on_added
        self.waiting: list[DiskTask] = []
        self.writing: list[DiskTask] = []  # a new list for each write
        self._waiting_bytes = 0  # the size of the entries in `waiting`

    @property
    def is_busy(self) -> bool:
        """Whether any step is being written or waits to be."""
        return bool(self.writing or self.waiting)

    @property
    def count(self) -> int:
        """How many steps wait to be written, or are being written."""
        return len(self.writing) + len(self.waiting)

    @property
    def is_full(self) -> bool:
        """Whether the queue has reached its bounds: a disk that hangs must not fill the memory."""
        return len(self.waiting) >= WAITING_MAX or self._waiting_bytes >= WAITING_BYTES

    @property
    def holds_promise(self) -> bool:
        """Whether a term, a vote, a lease or a mark of lost memory waits for the disk or is being
        written: no message may overtake these (paper, Figure 2)."""
        return any(effects.holds_promise for effects, _ in (*self.writing, *self.waiting))

    @property
    def goes_first(self) -> bool:
        """Whether the waiting steps must be on the disk before a snapshot, or a rewritten log, gets
        its name."""
        return any(precedes_snapshots(effects) for effects, _ in self.waiting)

    def add(self, task: DiskTask) -> None:
        """Add one Effects, to be written after all earlier ones."""
        self.waiting.append(task)
        for entry in task[0].append:
            self._waiting_bytes += len(entry.command)
        if self._on_added is not None:
            self._on_added()

    def begin(self) -> list[DiskTask]:
        """Hand out all waiting steps, to be written now; no write may be under way."""
        self.writing, self.waiting = self.waiting, []
        self._waiting_bytes = 0
        return self.writing

    def take_written(self) -> list[DiskTask]:
        """Hand out the steps that were just written."""
        written, self.writing = self.writing, []
        return written

    def drop(self) -> None:
        """Forget all waiting steps."""
        self.waiting = []
        self._waiting_bytes = 0


class Files(Protocol):
    """The files that the writer writes to: see LogManager."""

    def write(self, works: Sequence[Effects]) -> Durable | None: ...
    def note_mark(self) -> None: ...


class DiskJob:
    """A task between two writes: `act` returns whether it is done."""

    def __init__(self, act: Callable[[], bool]) -> None:
        self.act = act
        self.is_done = False
        self.ended = threading.Lock()
        self.ended.acquire()


@mypyc_attr(allow_interpreted_subclasses=True)
class Writer(Generic[Core]):
    """Owns the writing of `NAME.log` and `NAME.storage`; `core` is the driver's lock."""

    def __init__(
        self,
        files: Files,
        queue: WriteQueue,
        core: Mutex[Core],
        on_written: Callable[[Durable | None], None],
        on_failure: Callable[[Core, Exception], None],
        measures: Measures | None = None,
    ) -> None:
        self._measures = measures or Measures()
        self._files = files
        self._core = core
        self._on_written = on_written
        self._on_failure = on_failure
        self._wakeup = Wakeup()
        self.queue = queue
        self._jobs: deque[DiskJob] = deque()
        self._stopping = False

    def wake(self) -> None:
        """Wake the thread if steps wait.

        The thread takes `core` first. So call this after releasing `core`, or both threads would
        be woken twice. During a write no call is needed: the thread looks for more after each one.
        """
        if not self.queue.writing:
            self._wakeup.set()

    def between_writes(self, act: Callable[[], bool]) -> bool:
        """Call `act` in the writer thread while nothing is being written, and wait for it.

        If `act` returns False, the waiting steps are written and `act` is called again. Returns
        False if the thread ended first; an error in `act` counts as an error in writing.
        """
        job = DiskJob(act)
        with self._core:
            if self._stopping:
                return False
            self._jobs.append(job)
        self._wakeup.set()
        job.ended.acquire()
        return job.is_done

    def look_between_writes(self, look: Callable[[], bool]) -> None:
        """Call `look` once as soon as nothing is being written, unless a job waits for that
        already; do not wait. The caller holds `core`."""
        if not (self._jobs or self._stopping):
            self._jobs.append(DiskJob(look))
            self._wakeup.set()

    def stop(self) -> None:
        """Tell the thread to end once nothing waits any longer."""
        self._stopping = True
        self._wakeup.set()

    def abandon(self) -> None:
        """Drop the waiting steps and write nothing more; with `core` held."""
        self.queue.drop()
        self.stop()
        self._end_jobs()

    def run(self) -> None:
        """Write the steps that are added, until `stop`; a failure ends the thread for good."""
        while True:
            self._wakeup.wait()
            stops = self._stopping  # read first: steps added before the stop are written below
            try:
                while (self._jobs and self._do_job()) or self._write_once():
                    pass
            except Exception as error:
                with self._core as core:
                    self._on_failure(core, error)
                    self._stopping = True
                    self._end_jobs()
                return
            if stops:
                with self._core:
                    self._end_jobs()
                return

    def _do_job(self) -> bool:
        """Do the next job; return whether there was one and it is done."""
        with self._core:
            job = self._jobs[0] if self._jobs else None
        if job is None or not job.act():
            return False
        job.is_done = True
        with self._core:
            if job in self._jobs:  # otherwise it has been ended
                self._jobs.remove(job)
                job.ended.release()
        return True

    def _end_jobs(self) -> None:
        """Wake the threads whose jobs will never be done."""
        while self._jobs:
            self._jobs.popleft().ended.release()

    def _write_once(self) -> bool:
        """Write the waiting steps; return whether more steps or jobs are waiting."""
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
