"""Errors of a node's files, each told in one line that says what to do."""

from __future__ import annotations

EXIT_FILES, EXIT_DISK = 3, 4


class StorageError(Exception):
    """The files cannot be used; the message is one line for the person who runs the node."""

    exit_status = EXIT_FILES  # of a program that ends over it


class DiskFailed(StorageError):
    """A write or a sync failed. What reached the disk is unknown, so the node must stop."""

    exit_status = EXIT_DISK


def system_says(failure: StorageError) -> str:
    """Return the system's own words for what went wrong, for those who are no node."""
    return getattr(failure.__cause__, "strerror", None) or str(failure)


class FilesRefused(StorageError):
    """The node must not start from these files: damaged, locked, unreadable, or another's."""


class DamagedStorage(FilesRefused):
    """NAME.storage fails its checks: term and vote are lost."""


class DamagedFiles(FilesRefused):
    """Log or snapshot fail their checks; `repair` knows what can be done about it."""


class CorruptLog(DamagedFiles):
    """The log fails its own checks in a place that was once acknowledged.

    `where` is the line and what is wrong there; the file is sound up to `good_bytes`, where entry
    `last_index` ends.
    """

    def __init__(
        self, message: str, where: str = "", good_bytes: int = 0, last_index: int = 0
    ) -> None:
        super().__init__(message)
        self.where = where
        self.good_bytes = good_bytes
        self.last_index = last_index
