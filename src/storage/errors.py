"""What can go wrong with a node's files, each told in one line that says what to do."""

from __future__ import annotations


class StorageError(Exception):
    """The files cannot be used; the message is one line for the person who runs the node."""


class DiskFailed(StorageError):
    """A write or a sync failed. What reached the disk is unknown, so the node must stop."""


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
