"""The bound on what a node accepts from other members: as much as its disk has room for.

A member that misbehaves knows the secret, so its lines are accepted. The data that it sends stays
on the disk until entries of a quorum, or a whole snapshot, replace it. It is always safe to refuse
a message: the network may lose it as well. A correct leader sends it again, when there may be room.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence

from ..logmanager import LogManager
from ..raft.messages import AppendEntries, InstallSnapshot, Message
from ..wire.limits import (
    DISK_LEFT_BYTES,
    DISK_PART,
    LOG_GROWTH,
    UNCOMMITTED_LOG_BYTES,
)


class DiskSpace:
    """The free bytes of the disk and its size, as of the last look: at the start, after writes, and
    whenever they decide whether something is refused."""

    def __init__(self, measure: Callable[[], tuple[int, int]] = lambda: (1 << 62, 0)) -> None:
        """By default, the disk is endless."""
        self._measure = measure
        self.look()

    def look(self) -> tuple[int, int]:
        """Measure the disk; return its free bytes and its size."""
        self._seen = self._measure()
        return self._seen

    def is_short(self, parts: int) -> bool:
        """Whether less than this many parts was left at the last look; see `least_of`."""
        left, whole = self._seen
        return left < parts * least_of(whole)

    def is_still_short(self, parts: int) -> bool:
        """Like `is_short`, but look again before the answer is yes: there may be room by then."""
        if not self.is_short(parts):
            return False
        self.look()
        return self.is_short(parts)


class DiskRoom:
    """Checks the messages of members before they reach the core."""

    def __init__(
        self, logmanager: LogManager, growth_bytes: Callable[[], int], disk: DiskSpace
    ) -> None:
        """`growth_bytes` returns by how much NAME.log grows between two snapshots."""
        self._logmanager = logmanager
        self._growth_bytes = growth_bytes
        self._disk = disk

    def refusals(self, messages: Sequence[Message]) -> list[str]:
        """Return the reason why each message is refused; "" if it is accepted."""
        refusals = []
        for message in messages:
            why = ""
            if isinstance(message, AppendEntries):
                if message.entries:
                    why = self._of_entries(self._logmanager.log_bytes)
            elif isinstance(message, InstallSnapshot) and message.offset == 0:
                why = self._of_snapshot(message.snapshot.size)
            refusals.append(why)
        return refusals

    @property
    def lacks(self) -> str:
        """The reason to refuse a leader's entries at the last look: no space on the disk, or a
        shorter log; "" if they are taken."""
        if self._disk.is_short(1):
            return "disk"
        return "log" if self._logmanager.log_bytes > self._longest() else ""

    def _longest(self) -> int:
        """Return the size of a log that takes no entries before a snapshot."""
        return UNCOMMITTED_LOG_BYTES + LOG_GROWTH * self._growth_bytes()

    def _of_entries(self, size: int) -> str:
        if self._disk.is_still_short(1):
            return "my disk is nearly full, and takes no entries"  # the same line each time
        if size <= UNCOMMITTED_LOG_BYTES:
            return ""
        most = self._longest()
        if size <= most:
            return ""
        return f"my log has {size} bytes, and takes no entries beyond {most} before a snapshot"

    def _of_snapshot(self, size: int) -> str:
        free, _ = self._disk.look()
        if size <= free - free // DISK_PART:
            return ""
        return f"my disk has {free} bytes left, and not enough for a snapshot of {size}"


def least_of(whole: int) -> int:
    """Return how many bytes of a disk of this size a follower, or a node that takes a snapshot,
    leaves free. A leader leaves twice as many (node/loop/quota.py), so it stops first."""
    return min(DISK_LEFT_BYTES // 2, whole // DISK_PART)


def spares(folder: str | os.PathLike[str], size: int) -> bool:
    """Whether a temporary file may grow by `size` bytes and still leave room for the log."""
    disk = shutil.disk_usage(folder)
    return disk.free - size >= min(UNCOMMITTED_LOG_BYTES, disk.total // DISK_PART)


def disk_of(folder: str | os.PathLike[str]) -> tuple[int, int]:
    """Return how many bytes a process without special rights can still write there, and the size
    of the disk. If they can't be read, return the values of an unlimited disk."""
    try:
        disk = shutil.disk_usage(folder)
    except OSError:
        return 1 << 62, 0
    return disk.free, disk.total
