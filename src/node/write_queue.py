"""The queue before the disk: steps of the core whose Effects are to be written, in order.

Here are no threads and no files. A writer takes *all* that waits, writes it in one go, syncs once,
and hands it back, so that what depended on it can leave (writer.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from raftline.net.host import Origin
from raftline.raft.effects import Effects

WAITING_MAX: Final = 1000  # steps that may wait for the disk; then a leader takes no more requests


DiskTask = tuple[Effects, Origin | None]  # with where the message came from that asked for it
Durable = tuple[int, int]  # index and term of the last entry now on disk


def precedes_snapshots(effects: Effects) -> bool:
    """Whether this takes back a part of the log, or brings the term that a snapshot may end in: a
    node whose term is earlier than its entries does not start."""
    return any(each is not None for each in (effects.cut_after, effects.install, effects.save))


class WriteQueue:
    """Keeps each step from when it was taken until it is on the disk.

    Whoever calls holds the driver's `core` lock.
    """

    def __init__(self, on_added: Callable[[], None]) -> None:
        """Begin empty; `on_added` is called when there is something to write."""
        self._on_added = on_added
        self._waiting: list[DiskTask] = []
        self.writing: list[DiskTask] = []  # another list for each write

    @property
    def is_busy(self) -> bool:
        """Whether anything is being written or waits to be."""
        return bool(self.writing or self._waiting)

    @property
    def count(self) -> int:
        """How many steps wait to be written, or are being written."""
        return len(self.writing) + len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether as much waits as may wait: a disk that stands still must not fill the memory."""
        return len(self._waiting) >= WAITING_MAX

    @property
    def goes_first(self) -> bool:
        """Whether what waits must be on the disk before a snapshot or a log that is begun again has
        its name."""
        return any(precedes_snapshots(effects) for effects, _ in self._waiting)

    def add(self, task: DiskTask) -> None:
        """Have one Effects written after all that was added before."""
        self._waiting.append(task)
        self._on_added()

    def begin(self) -> list[DiskTask]:
        """Hand out all that waits, to be written now; nothing may be being written."""
        self.writing, self._waiting = self._waiting, []
        return self.writing

    def take_written(self) -> list[DiskTask]:
        """Hand out what was just written."""
        written, self.writing = self.writing, []
        return written

    def drop(self) -> None:
        """Forget all that waits."""
        self._waiting = []
