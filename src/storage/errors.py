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


class CorruptLog(FilesRefused):
    """The log fails its own checks in a place that was once acknowledged."""
