"""Durable appends to a file, and the errors of a node's files.

Each error is reported in one line that explains what to do.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from collections.abc import Callable

EXIT_FILES, EXIT_DISK, EXIT_SYSTEM = 3, 4, os.EX_OSERR
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
# The disk is full, broken or read-only. Other errors concern names and permissions.
_OF_THE_DISK = (*_NO_ROOM, errno.EFBIG, errno.EIO, errno.EROFS, errno.ESTALE)
NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)  # none left for this process, or for the whole system
MORE_DESCRIPTORS = "raise its limit (ulimit -n), then start the node again"
NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)


class StorageError(Exception):
    """The files cannot be used. The message is one line for the person who runs the node."""

    exit_status = EXIT_FILES  # of a program that ends with this error


class DiskFailed(StorageError):
    """A write or a sync failed. What reached the disk is unknown, so the node must stop."""

    exit_status = EXIT_DISK


class HalfApplied(StorageError):
    """The execution of an entry failed halfway, so the pairs match no entry. The node stops."""


class FilesRefused(StorageError):
    """The node must not start from these files: they are damaged, locked, unreadable or another
    node's."""


class LevelRefused(FilesRefused):
    """A newer build wrote the files, and this build can't read them. Nothing is damaged."""


class DamagedStorage(FilesRefused):
    """NAME.storage fails its checks, so term and vote are lost."""


class DamagedFiles(FilesRefused):
    """The log or the snapshot fails its checks. `repair` may fix it."""


class CorruptLog(DamagedFiles):
    """The log fails its checks in a part that was acknowledged.

    `where` is the line and its fault. The file is sound up to `good_bytes`, which is the end of
    entry `last_index`.
    """

    def __init__(self, log: str, where: str, good_bytes: int, last_index: int) -> None:
        super().__init__(f"{log}, {where}")
        self.where = where
        self.good_bytes = good_bytes
        self.last_index = last_index


def exit_status_of(error: BaseException, otherwise: int = EXIT_FILES) -> int:
    """Return the exit status of a program that ends with an error.

    A retry may help if the disk failed, for any file (EXIT_DISK), or if the system had no
    descriptor left (EXIT_SYSTEM).
    """
    cause: BaseException | None = error
    while cause is not None:
        is_of_system = not hasattr(cause, "library")  # errors of TLS have other numbers
        number = cause.errno if isinstance(cause, OSError) and is_of_system else None
        if number in _OF_THE_DISK:
            return EXIT_DISK
        if number in NO_DESCRIPTOR:
            return EXIT_SYSTEM
        cause = cause.__cause__ or cause.__context__
    return error.exit_status if isinstance(error, StorageError) else otherwise


def disk_failed(path: str, action: str, error: OSError) -> DiskFailed:
    """Return the error for a failed write: what happened, what it means, what to do."""
    if error.errno in _NO_ROOM:
        advice = "free some space on this disk, then start the node again"
    elif error.errno in NOT_ALLOWED:
        advice = "allow this user to write there, or choose another folder"
    elif error.errno in NO_DESCRIPTOR:
        advice = MORE_DESCRIPTORS
    else:
        advice = "check the disk, then start the node again"
    reason = error.strerror or str(error)
    return DiskFailed(
        f"{path}: cannot {action}: {reason}. No part of it was acknowledged, and the node stops; "
        f"{advice}"
    )


class AppendFile:
    """A file that only grows. After one failure it refuses everything.

    A failed fsync may have dropped the pages that it should have written. A second fsync would
    report success for them. So no operation is tried twice.
    """

    def __init__(self, path: str, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._failed = False

    def append(self, data: bytes) -> None:
        """Append all of `data` or raise. It is not durable yet."""
        self._do("write", lambda: self._write(data))

    def sync(self) -> None:
        """Make all appended bytes durable, so that they survive a power cut."""
        self._do("sync", self._sync)

    def truncate(self, size: int) -> None:
        """Truncate the file to `size` bytes, durably."""
        self._do("cut", lambda: self._truncate(size))

    @property
    def identity(self) -> tuple[int, int]:
        """The device and inode of the open file, which may have lost its name."""
        status = os.fstat(self._descriptor)
        return status.st_dev, status.st_ino

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _do(self, what: str, act: Callable[[], None]) -> None:
        if self._failed:
            raise DiskFailed(
                f"{self._path}: an earlier write or sync failed, so nothing more is written; "
                "check the disk, then start the node again"
            )
        try:
            act()
        except OSError as error:
            self._failed = True
            raise disk_failed(self._path, what, error) from error

    def _write(self, data: bytes) -> None:
        write_all(self._descriptor, data)

    def _sync(self) -> None:
        sync_bytes(self._descriptor)

    def _truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)
        sync_all(self._descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    count = os.write(descriptor, data)
    while count < len(data):
        count += os.write(descriptor, memoryview(data)[count:])


def sync_all(descriptor: int) -> None:
    """Make a file, or the names in a folder, durable, with all metadata."""
    if sys.platform == "darwin":
        sync_bytes(descriptor)
    else:
        os.fsync(descriptor)


def sync_bytes(descriptor: int) -> None:
    """Make the bytes and the size of a file durable."""
    if sys.platform == "darwin":  # fsync stops at the drive's cache there
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(descriptor)
