"""A folder in memory that dies, tears writes, fails and forgets at a test's command.

It keeps the written bytes of each file and how many of them are synced, and the possible outcomes
of a power cut for each name. It counts every step that reaches the disk, so that a test can inject
a fault at each step in turn.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterable, Mapping
from random import Random
from typing import BinaryIO

from raftline.storage.disk import AppendFile, FilesRefused, disk_failed
from raftline.storage.folder import Folder, cannot_read
from raftline.storage.lost_files import Found

from .memory_file import Died, Fault, Kind, MemoryFile

__all__ = ["Beside", "Died", "Fault", "Kind", "MemoryFolder"]


class Beside:
    """A failure of files that are not in force yet, whose names have this end."""

    def __init__(self, kind: Kind, end: str = "", after: int = 0) -> None:
        """Fail all writes and syncs except the first ones."""
        self.end = end
        self._kind = kind
        self._left = after

    def strikes(self) -> Kind | None:
        """Count a write or a sync; return how it fails."""
        self._left -= 1
        return self._kind if self._left < 0 else None


class MemoryAppendFile(AppendFile):
    """The open end of a file in memory."""

    def __init__(
        self, folder: MemoryFolder, name: str, file: MemoryFile, *, in_force: bool
    ) -> None:
        super().__init__(name, -1, in_force=in_force)
        self._folder = folder
        self._file = file

    @property
    def identity(self) -> tuple[int, int]:
        return (0, id(self._file))

    def _write(self, data: bytes) -> None:
        kind = self._folder.writing_step() or self._spoiled()
        self._file.write(data, kind)
        if kind is not None:
            self._folder.finish(kind)

    def _sync(self) -> None:
        try:
            kind = self._folder.step()
            if kind is None and (spoiled := self._spoiled()):
                self._folder.finish(spoiled)
        except OSError:
            self._file.fail_sync()
            raise
        if kind is None or kind is Kind.DIE_AFTER:
            self._file.sync()
        if kind is not None:
            self._folder.finish(kind)

    def _spoiled(self) -> Kind | None:
        return None if self._in_force else self._folder.spoils(self._path)

    def _truncate(self, size: int) -> None:
        kind = self._folder.step()
        file = self._file
        if kind is None or kind is Kind.DIE_AFTER:
            file.before_cut = bytes(file.data[size:])
            del file.data[size:]
            file.synced = min(file.synced, size)
            file.dropped &= set(range(size))
        if kind is not None:
            self._folder.finish(kind)
        self._sync()


class MemoryFolder(Folder):
    """A folder in memory; `fault` may be set at any time, `steps` counts the steps."""

    def __init__(
        self, files: Mapping[str, bytes] | None = None, fault: Fault | None = None
    ) -> None:
        self.path = "memory"
        self.fault = fault
        self.steps = 0
        self.is_dead = False
        self.is_full = False  # no file can grow
        self.beside: Beside | None = None
        self._files = {name: MemoryFile(data) for name, data in (files or {}).items()}
        self._may_be_left = [dict(self._files)]  # the sets of names that a power cut may leave
        self._held_locks: set[str] = set()
        self._open: dict[str, MemoryFile] = {}  # open for overwriting
        self._dying: Kind | None = None

    # Questions of tests.

    def content(self, name: str) -> bytes:
        return bytes(self._files[name].data)

    def contents(self) -> dict[str, bytes]:
        return {name: bytes(file.data) for name, file in self._files.items()}

    def put(self, name: str, data: bytes) -> None:
        """Place a file, synced, as if it had always been there."""
        self._files[name] = MemoryFile(data)
        self._may_be_left = [dict(self._files)]

    def take_away(self, name: str, way: str) -> MemoryFile:
        """Remove, rename or truncate a file, or append to it. A process that has it open still
        writes to it.

        Returns the spoiled file.
        """
        file = self._files[name]
        if way == "truncate":
            del file.data[:]
            file.sync()
        elif way == "append":
            file.write(b"rotated\n", None)
            file.sync()
        else:
            del self._files[name]
            if way == "rename":
                self._files[f"{name}.old"] = file
            self._may_be_left = [dict(self._files)]
        return file

    def lacks(self, name: str, taken: MemoryFile) -> bool:
        """Whether no file except `taken` has this name."""
        return self._files.get(name, taken) is taken

    def rot(self, name: str, data: bytes) -> None:
        """Replace the synced content of a file, without a write."""
        file = self._files[name]
        file.data[:], file.synced = data, len(data)

    def lose(self, name: str) -> None:
        """Remove the name of a file, as another program would; open files stay open."""
        del self._files[name]
        self._may_be_left = [dict(self._files)]

    def kill(self) -> MemoryFolder:
        """Return the folder as the next process sees it after kill -9 of this one.

        All written bytes are there; bytes that were not synced are still not durable.
        """
        left = MemoryFolder()
        left._files = {name: file.copy() for name, file in self._files.items()}
        copies = {id(file): left._files[name] for name, file in self._files.items()}
        left._may_be_left = [
            {name: copies.get(id(file)) or file.copy() for name, file in names.items()}
            for names in self._may_be_left
        ]
        return left

    def crash(self, random: Random) -> MemoryFolder:
        """Return the folder as it is after a power cut."""
        names = random.choice(self._may_be_left)
        return MemoryFolder({name: file.after_power_cut(random) for name, file in names.items()})

    # Counting and failing.

    def step(self) -> Kind | None:
        """Count one step; return the fault that the operation must carry out itself."""
        if self.is_dead:
            raise Died
        self.steps += 1
        fault = self.fault
        if fault is None or fault.step != self.steps:
            return None
        if fault.kind is Kind.DIE_BEFORE:
            self.is_dead = True
            raise Died
        if fault.kind is Kind.EIO:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return fault.kind

    def spoils(self, name: str) -> Kind | None:
        """Return how an operation on a file that is not in force fails."""
        is_spoiled = self.beside is not None and name.endswith(self.beside.end)
        return self.beside.strikes() if self.beside is not None and is_spoiled else None

    def writing_step(self) -> Kind | None:
        """Count a step that makes a file longer."""
        kind = self.step()
        return Kind.ENOSPC if self.is_full and kind is None else kind

    def finish(self, kind: Kind) -> None:
        """Complete the step that has the fault `kind`."""
        if kind is Kind.ENOSPC:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if kind is Kind.EIO:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self.is_dead = True
        raise Died

    def _whole_step(self) -> None:
        """Count a step that cannot be done in part: a torn step is the same as death before it."""
        kind = self.step()
        if kind is not None and kind is not Kind.DIE_AFTER:
            self.finish(kind)
        self._dying = kind

    def _end_whole_step(self) -> None:
        if self._dying is not None:
            self.finish(self._dying)

    # The folder's interface.

    def exists(self, name: str) -> bool:
        return name in self._files

    def size(self, name: str) -> int:
        return len(self._files[name].data)

    def read(self, name: str) -> BinaryIO:
        try:
            self._whole_step()
            data = bytes(self._there(name).data)
            self._end_whole_step()
        except OSError as error:
            raise cannot_read(name, error) from error
        return io.BytesIO(data)

    def replace(self, name: str, chunks: Iterable[bytes]) -> None:
        beside, is_renamed = f"{name}.tmp", False
        try:
            self._whole_step()
            file = MemoryFile()
            self._files[beside] = file
            self._names_changed()
            self._end_whole_step()
            for chunk in chunks:
                kind = self.writing_step()
                file.write(chunk, kind)
                if kind is not None:
                    self.finish(kind)
            self._whole_step()
            file.sync()
            self._end_whole_step()
            self._whole_step()
            self._files[name] = self._files.pop(beside)
            is_renamed = True
            self._names_changed()
            self._end_whole_step()
            self._sync_names()
        except OSError as error:
            self._files.pop(beside, None)
            raise disk_failed(name, "replace", error, changed_nothing=not is_renamed) from error

    def create(self, name: str) -> AppendFile:
        try:
            self._whole_step()
            self._files[name] = MemoryFile()
            self._names_changed()
            self._end_whole_step()
        except OSError as error:
            raise disk_failed(name, "make", error, changed_nothing=True) from error
        return MemoryAppendFile(self, name, self._files[name], in_force=False)

    def rename(self, old: str, new: str) -> None:
        is_renamed = False
        try:
            self._whole_step()
            if not old.endswith(".part") and (spoiled := self.spoils(old)):
                self.finish(spoiled)
            self._files[new] = self._there(old)
            del self._files[old]
            is_renamed = True
            self._names_changed()
            self._end_whole_step()
            self._sync_names()
        except OSError as error:
            raise disk_failed(new, "replace", error, changed_nothing=not is_renamed) from error

    def remove(self, name: str) -> None:
        if name in self._files:
            try:
                self._whole_step()
                del self._files[name]
                self._names_changed()
                self._end_whole_step()
            except OSError as error:
                raise disk_failed(name, "remove", error) from error

    def open_append(self, name: str) -> AppendFile:
        try:
            self._whole_step()
            self._there(name).sync()
            self._end_whole_step()
            self._sync_names()
        except OSError as error:
            if name in self._files:
                self._files[name].fail_sync()
            raise disk_failed(name, "open for writing", error) from error
        return MemoryAppendFile(self, name, self._files[name], in_force=True)

    def write_again(self, name: str, begin: int, end: int) -> None:
        try:
            self._whole_step()
            self._there(name).write_again(begin, end)
            self._end_whole_step()
        except OSError as error:
            raise disk_failed(name, "write", error) from error

    def find(self, name: str) -> Found | None:
        file = self._files.get(name)
        return None if file is None else Found((0, id(file)), len(file.data))

    def make_again(self, lock: str) -> None:
        self._held_locks.add(lock)

    def hold(self, name: str) -> None:
        self._open[name] = self._there(name)

    def overwrite(self, name: str, offset: int, data: bytes) -> None:
        try:
            kind = self.step()
            if kind is None or kind is Kind.DIE_AFTER:
                file = self._open[name]
                end = offset + len(data)
                if offset not in file.overwritten:
                    file.overwritten[offset] = bytes(file.data[offset:end])
                file.data[offset:end] = data
            if kind is not None:
                self.finish(kind)
        except OSError as error:
            raise disk_failed(name, "write", error) from error

    def lock(self, name: str, *, reads: bool = False) -> None:
        if name in self._held_locks:
            raise FilesRefused(f"{name} is running already")
        self._held_locks.add(name)

    def close(self) -> None:
        self._held_locks.clear()

    def _there(self, name: str) -> MemoryFile:
        if name not in self._files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return self._files[name]

    def _names_changed(self) -> None:
        self._may_be_left.append(dict(self._files))

    def _sync_names(self) -> None:
        self._whole_step()
        self._may_be_left = [dict(self._files)]
        self._end_whole_step()
