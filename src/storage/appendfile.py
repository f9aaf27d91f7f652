"""One file that is only appended to, and how bytes get to the disk."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from collections.abc import Callable

from raftline.storage.errors import DiskFailed

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)


def disk_failed(path: str, action: str, error: OSError) -> DiskFailed:
    """Return the error for a failed write: what happened, what it means, what to do."""
    if error.errno in _NO_ROOM:
        advice = "free some space on this disk, then start the node again"
    elif error.errno in _NOT_ALLOWED:
        advice = "let this user write there, or choose another folder with --dir"
    else:
        advice = "check the disk, then start the node again"
    reason = error.strerror or str(error)
    return DiskFailed(
        f"{path}: cannot {action}: {reason}. Nothing of it was acknowledged and the node stops; "
        f"{advice}"
    )


class AppendFile:
    """A file that only grows. After one failure it refuses everything.

    An fsync that failed may have dropped the very pages it was asked to write, and a second
    one would report success for them, so nothing is ever tried twice.
    """

    def __init__(self, path: str, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._failed = False

    def append(self, data: bytes) -> None:
        """Leave `data` at the end of the file, all of it or an error; not yet durable."""
        self._attempt("write", lambda: self._write(data))

    def sync(self) -> None:
        """Make all that was appended survive a power cut."""
        self._attempt("sync", self._sync)

    def truncate(self, size: int) -> None:
        """Cut the file to `size` bytes, durably."""
        self._attempt("cut", lambda: self._truncate(size))

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _attempt(self, what: str, act: Callable[[], None]) -> None:
        self._refuse_after_failure()
        try:
            act()
        except OSError as error:
            self._failed = True
            raise disk_failed(self._path, what, error) from error

    def _refuse_after_failure(self) -> None:
        if self._failed:
            raise DiskFailed(
                f"{self._path}: an earlier write or sync failed, so nothing more is written; "
                "check the disk, then start the node again"
            )

    def _write(self, data: bytes) -> None:
        write_all(self._descriptor, data)

    def _sync(self) -> None:
        sync_bytes(self._descriptor)

    def _truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)
        os.fsync(self._descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, memoryview(data)[written:])


def sync_bytes(descriptor: int) -> None:
    if sys.platform == "darwin":  # there fsync stops at the drive's cache
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(descriptor)
