"""The bound of what a node takes from other members: no more than its disk has room for.

A member that has gone mad knows the secret, so its lines are heard. What it sends lies on the disk
until an entry of a quorum, or a whole snapshot, takes its place. Refusing a message is always safe:
it may as well have been lost. A leader that is well sends it again, and later there is room.
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


class DiskRoom:
    """Looks at what comes from members before it reaches the core."""

    def __init__(
        self,
        logmanager: LogManager,
        growth_bytes: Callable[[], int],
        free: Callable[[], int],
        disk: Callable[[], tuple[int, int]] = lambda: (1 << 62, 0),
    ) -> None:
        """`growth_bytes` is what NAME.log gets from one snapshot to the next, `free` what the disk
        has left, `disk` the same and what it has in all."""
        self._logmanager = logmanager
        self._growth_bytes = growth_bytes
        self._free = free
        self._disk = disk

    def refusals(self, messages: Sequence[Message]) -> list[str]:
        """Return for each message why it is not taken; "" if it is."""
        found = []
        for message in messages:
            why = ""
            if isinstance(message, AppendEntries):
                if message.entries:
                    why = self._of_entries(self._logmanager.log_bytes)
            elif isinstance(message, InstallSnapshot) and message.offset == 0:
                why = self._of_snapshot(message.snapshot.size)
            found.append(why)
        return found

    def _of_entries(self, size: int) -> str:
        left, whole = self._disk()
        if left < least_of(whole):
            return "my disk is nearly full, and takes no entries"  # the same line each time
        if size <= UNCOMMITTED_LOG_BYTES:
            return ""
        most = UNCOMMITTED_LOG_BYTES + LOG_GROWTH * self._growth_bytes()
        if size <= most:
            return ""
        return f"my log has {size} bytes, and takes no entries beyond {most} before a snapshot"

    def _of_snapshot(self, size: int) -> str:
        free = self._free()
        if size <= free - free // DISK_PART:
            return ""
        return f"my disk has {free} bytes left, and not enough for a snapshot of {size}"


def least_of(whole: int) -> int:
    """Return how many bytes of a disk with so many a follower leaves free, and so does a snapshot
    that a node takes: half of what a leader does (node/quota.py), which stops first."""
    return min(DISK_LEFT_BYTES // 2, whole // DISK_PART)


def spares(folder: str | os.PathLike[str], size: int) -> bool:
    """Whether a temporary file may grow by `size` bytes, and leave the log its part of the disk."""
    disk = shutil.disk_usage(folder)
    return disk.free - size >= min(UNCOMMITTED_LOG_BYTES, disk.total // DISK_PART)


def disk_of(folder: str | os.PathLike[str]) -> tuple[int, int]:
    """Return how many bytes a process without special rights can still write there, and how many
    there are in all; as if it had no end, if that can't be known."""
    try:
        disk = shutil.disk_usage(folder)
    except OSError:
        return 1 << 62, 0
    return disk.free, disk.total


def free_bytes(folder: str | os.PathLike[str]) -> int:
    """Return how many bytes a process without special rights can still write there."""
    return shutil.disk_usage(folder).free
