"""Durable appends to a file, and the errors of a node's files.

Each error is reported in one line that explains what to do.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import sys
from collections.abc import Callable

from ..wire.refusal import Refusal

EXIT_FILES, EXIT_DISK, EXIT_SYSTEM = 3, 4, os.EX_OSERR
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
# The disk is full, broken or read-only. Other errors concern names and permissions.
_OF_THE_DISK = (*_NO_ROOM, errno.EFBIG, errno.EIO, errno.EROFS, errno.ESTALE)
NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)  # none left for this process, or for the whole system
MORE_DESCRIPTORS = "raise its limit (ulimit -n), then start the node again"
_START_AGAIN = ", then start the node again"
NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)


class StorageError(Exception):
    """The files cannot be used. The message is one line for the person who runs the node."""

    exit_status = EXIT_FILES  # of a program that ends with this error

    @property
    def survived(self) -> str:
        """The message where the node continues after this error."""
        return str(self)


class DiskFailed(StorageError):
    """A write or a sync failed. The state of the disk is unknown, so the node must stop.

    With `changed_nothing` the failure was at a file that is not in force yet, and all files in
    force are as before. So a node continues that can do without the new file.
    """

    exit_status = EXIT_DISK

    def __init__(self, text: str, survived: str = "", *, changed_nothing: bool = False) -> None:
        super().__init__(text)
        self._survived = survived
        self.changed_nothing = changed_nothing

    @property
    def survived(self) -> str:
        return self._survived or str(self)


class StateRefused(StorageError):
    """The pairs may not be read: an entry failed halfway, so they match no entry and the node
    stops, or they differ from those of the other nodes."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.sentence)
        self.refusal = refusal


class FilesRefused(StorageError):
    """The node must not start from these files: they are damaged, locked, unreadable or another
    node's."""


class BuildRefused(FilesRefused):
    """A build from before the first release wrote the files, or their entries need parts that this
    build lacks, or applies otherwise. Nothing is damaged."""


# How builds from before the first release wrote a level, in place of `cluster IDENTITY level 1`.
EARLIER = re.compile(rb"level [345](?: cluster [0-9a-f]{16})?(?: |\Z)")
OF_AN_EARLIER_BUILD = (
    "it was written by a build from before the first release, whose format is not read any more. "
    "To keep the data, start that build, save the pairs with `raftline export FILE`, and load them "
    "into a new cluster with `raftline import FILE` (docs/operate/upgrades.md). Nothing was changed"
)


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


def disk_failed(
    path: str, action: str, error: OSError, *, changed_nothing: bool = False
) -> DiskFailed:
    """Return the error for a failed write: what happened, what it means, what to do."""
    if error.errno in _NO_ROOM:
        advice = f"free some space on this disk{_START_AGAIN}"
    elif error.errno in NOT_ALLOWED:
        advice = "allow this user to write there, or choose another folder"
    elif error.errno in NO_DESCRIPTOR:
        advice = MORE_DESCRIPTORS
    else:
        advice = f"check the disk{_START_AGAIN}"
    what = f"{path}: cannot {action}: {error.strerror or error}"
    return DiskFailed(
        f"{what}. No part of it was acknowledged, and the node stops; {advice}",
        f"{what}. The node continues with its present files; {advice.removesuffix(_START_AGAIN)}",
        changed_nothing=changed_nothing,
    )


class AppendFile:
    """A file that only grows. After one failure it refuses everything.

    A failed fsync may have dropped the pages that it should have written. A second fsync would
    report success for them. So no operation is tried twice.
    """

    def __init__(self, path: str, descriptor: int, *, in_force: bool = True) -> None:
        self._path = path
        self._descriptor = descriptor
        self._in_force = in_force  # otherwise its name is that of a file in force, with a suffix
        self._failed = False

    def put_in_force(self) -> None:
        """Record that the file has, or is about to get, its name without the suffix."""
        self._path, self._in_force = self._path.rpartition(".")[0], True

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
                f"check the disk{_START_AGAIN}",
                changed_nothing=not self._in_force,
            )
        try:
            act()
        except OSError as error:
            self._failed = True
            raise disk_failed(
                self._path, what, error, changed_nothing=not self._in_force
            ) from error

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
