"""The only module that touches the file system for a node's files.

Its callers use names and bytes, so a test can pass a folder that fails, tears or loses writes.
After a process is killed, all written bytes are there. After a power cut, all synced bytes are
there.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from functools import partial
from typing import BinaryIO

from .disk import (
    MORE_DESCRIPTORS,
    NO_DESCRIPTOR,
    NOT_ALLOWED,
    AppendFile,
    FilesRefused,
    disk_failed,
    sync_all,
    sync_bytes,
    write_all,
)
from .lost_files import Found

_READ_BUFFER_BYTES = 1 << 18
_COPY_BYTES = 1 << 18
_TO_BE = ("new", "part", "tmp")  # suffixes of files that will replace another file


def cannot_read(path: str, error: OSError) -> FilesRefused:
    """Return the error for a file that exists and cannot be read."""
    reason = error.strerror or str(error)
    is_full = error.errno in NO_DESCRIPTOR
    advice = MORE_DESCRIPTORS if is_full else "check the disk and who may read the file"
    return FilesRefused(
        f"{path}: cannot be read: {reason}. The node does not start without it; {advice}"
    )


@contextlib.contextmanager
def opened(folder: Folder, name: str) -> Iterator[BinaryIO]:
    """Open a file at its first byte. Raises FilesRefused: it can't be opened or read."""
    with _readable(name), folder.read(name) as file:
        yield file


@contextlib.contextmanager
def _readable(path: str) -> Iterator[str]:
    """Report an error of the block as that of a file that cannot be read."""
    try:
        yield path
    except OSError as error:
        raise cannot_read(path, error) from error


@contextlib.contextmanager
def _writable(path: str, action: str, *, changed_nothing: bool = False) -> Iterator[None]:
    """Report an error of the block as a failed write."""
    try:
        yield
    except OSError as error:
        raise disk_failed(path, action, error, changed_nothing=changed_nothing) from error


class Folder:
    """The folder that holds a node's files. It is created, durably, if it does not exist."""

    def __init__(self, path: str | os.PathLike[str], *, is_private: bool = False) -> None:
        """Create the folder. With `is_private`, only the owner can read the files."""
        self.path = os.fspath(path)
        self._mode = 0o600 if is_private else 0o644
        self._overwritten: dict[str, int] = {}
        self._locks: list[int] = []
        try:
            make_folder(self.path)
            _sync_name(self.path)
            self._device = os.stat(self.path).st_dev
        except OSError as error:
            reason = error.strerror or str(error)
            raise FilesRefused(
                f"{self.path}: cannot be used as the folder for a node's files: {reason}; "
                "choose another folder"
            ) from error

    def exists(self, name: str) -> bool:
        """Return whether the file exists. Raises if permissions prevent an answer."""
        with _readable(self._path(name)) as path:
            try:
                os.stat(path)
            except FileNotFoundError:
                return False
        return True

    def size(self, name: str) -> int:
        """Return the size in bytes."""
        with _readable(self._path(name)) as path:
            return os.stat(path).st_size

    def find(self, name: str) -> Found | None:
        """Return the file that has the name, or None.

        Raises:
            OSError: it can't be determined.
        """
        try:
            status = os.stat(os.path.join(self.path, name))
        except (FileNotFoundError, NotADirectoryError):
            return None
        is_file = stat.S_ISREG(status.st_mode)
        return Found((status.st_dev, status.st_ino), status.st_size, is_file)

    def make_again(self, lock: str) -> None:
        """Create the folder again if it is gone, and take the lock again if the lock file is gone.

        Raises:
            DiskFailed: it can't be created, which has `changed_nothing`, or would be in another
                file system, because this one is no longer mounted.
            FilesRefused: another process has the lock now.
        """
        try:
            if _device_of(self.path) != self._device:
                gone = OSError(errno.ESTALE, "its file system is no longer mounted there")
                raise disk_failed(self.path, "write", gone)
            make_folder(self.path)
            _sync_name(self.path)
            current = self.find(f"{lock}.lock")
            held = [os.fstat(each) for each in self._locks]
        except OSError as error:
            raise disk_failed(self.path, "write", error, changed_nothing=True) from error
        if current is None or current.identity not in [(one.st_dev, one.st_ino) for one in held]:
            self.lock(lock)

    def read(self, name: str) -> BinaryIO:
        """Return a buffered reader, positioned at the first byte."""
        with _readable(self._path(name)) as path:
            return open(path, "rb", buffering=_READ_BUFFER_BYTES)

    def replace(self, name: str, chunks: Iterable[bytes]) -> None:
        """Replace the content of `name` with `chunks`, durably. A crash leaves all old or all new
        content.

        The order matters: the bytes are synced before the rename, and the rename before returning.

        Raises:
            DiskFailed: until the rename, this has `changed_nothing`.
        """
        path = self._path(name)
        beside = f"{path}.tmp"
        with _whole_or_gone(beside, path, "replace", changed_nothing=True):
            self._write(beside, os.O_TRUNC, chunks)
            os.replace(beside, path)
        self._sync_name_of(path)
        self._forget(name)

    def write_new(self, name: str, chunks: Iterable[bytes]) -> None:
        """Create the file `name` with the content `chunks`, durably, or leave nothing.

        A process that is killed while it names the file may leave an empty file.

        Raises:
            FilesRefused: the file exists, perhaps since a moment ago. It stays as it is.
        """
        path = os.path.join(self.path, name)
        beside = f"{path}.{os.urandom(4).hex()}.tmp"
        with _whole_or_gone(beside, path, "write"):
            self._write(beside, os.O_EXCL, chunks)
            try:
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, self._mode))
            except FileExistsError:
                raise FilesRefused(f"{path}: already exists; name a new file") from None
            with _whole_or_gone(path, path, "write"):
                os.replace(beside, path)
                _sync_folder(self.path)

    def _write(self, path: str, flag: int, chunks: Iterable[bytes]) -> None:
        descriptor = self._made(path, os.O_WRONLY | flag)
        try:
            for chunk in chunks:
                write_all(descriptor, chunk)
            sync_bytes(descriptor)
        finally:
            os.close(descriptor)

    def create(self, name: str) -> AppendFile:
        """Create an empty file that is not in force yet, or truncate it, for appending. It is not
        durable yet. `s1.log.new` is created in the folder of `s1.log`'s file, so that it can
        replace that file."""
        path = self._beside(name)
        with _writable(path, "make", changed_nothing=True):
            descriptor = self._made(path, os.O_WRONLY | os.O_APPEND | os.O_TRUNC)
        return AppendFile(path, descriptor, in_force=False)

    def rename(self, old: str, new: str) -> None:
        """Rename the synced file `old` to `new`, durably. If it is a link, the link itself is
        renamed: its file may be in another file system.

        Raises:
            DiskFailed: it has `changed_nothing` if `old` still has its name. A server of files may
                report an error for a rename that it has made.
        """
        path, beside = self._path(new), self._beside(old)
        try:
            os.replace(beside, path)
        except OSError as error:
            is_there = os.path.lexists(beside)
            raise disk_failed(path, "replace", error, changed_nothing=is_there) from error
        self._sync_name_of(path)

    def _sync_name_of(self, path: str) -> None:
        """Make the new file of this path durable."""
        with _writable(path, "replace"):
            _sync_folder(os.path.dirname(path))

    def free_name(self, name: str, why: str = "damaged") -> str:
        """Return NAME.damaged-1, or the next such name that is free."""
        number = 1
        while self.exists(f"{name}.{why}-{number}"):
            number += 1
        return f"{name}.{why}-{number}"

    def put_aside(self, name: str, why: str = "damaged") -> str:
        """Rename a file, durably, and return its new name."""
        aside = self.free_name(name, why)
        self.rename(name, aside)
        return aside

    def remove(self, name: str) -> None:
        """Remove a file if it exists. It may reappear after a power cut."""
        path = self._beside(name)
        with _writable(path, "remove"), contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def open_append(self, name: str) -> AppendFile:
        """Open an existing file for appending. Its content is durable on return.

        A killed process may have left bytes, or a name, that no sync has reached. They are readable
        from memory, and must be on the disk before anything depends on them.
        """
        path = self._path(name)
        with _writable(path, "open for writing"):
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
            try:
                sync_all(descriptor)
                _sync_folder(os.path.dirname(path))
            except OSError:
                os.close(descriptor)
                raise
        return AppendFile(path, descriptor)

    def write_again(self, name: str, begin: int, end: int) -> None:
        """Write the bytes of a file from `begin` to `end` again, as they can be read now. They are
        not durable yet."""
        path = self._path(name)
        with _writable(path, "write"), open(path, "r+b", buffering=0) as file:
            while begin < end:
                data = os.pread(file.fileno(), min(_COPY_BYTES, end - begin), begin)
                begin += os.pwrite(file.fileno(), data, begin)
                if not data:
                    raise OSError(errno.EIO, "it has become shorter")

    def overwrite(self, name: str, offset: int, data: bytes) -> None:
        """Change bytes in place without a sync. After a power cut, they are all old or all new.

        All bytes must be within the first 512, which a disk writes as one sector.
        """
        try:
            if os.pwrite(self._held(name), data, offset) != len(data):
                raise OSError(errno.EIO, "only a part was written")
        except OSError as error:
            raise disk_failed(self._path(name), "write", error) from error

    def hold(self, name: str) -> None:
        """Open a file for `overwrite`, which then does not depend on its name.

        Raises:
            DiskFailed: it can't be written.
        """
        with _writable(self._path(name), "open for writing"):
            self._held(name)

    def _held(self, name: str) -> int:
        descriptor = self._overwritten.get(name, -1)
        if descriptor < 0:
            path = os.path.join(self.path, name)
            descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
            self._overwritten[name] = descriptor
        return descriptor

    def lock(self, name: str, *, reads: bool = False) -> None:
        """Keep other processes from taking the lock `name` until this process closes it or dies.

        The kernel holds the lock, so the lock file of a dead process blocks no start. A caller that
        only `reads` the files may lack permission to write there. Then, if there is no lock file,
        nobody holds the lock.
        """
        for each in (".lock", ".storage", ".log.new"):
            _check_no_link(os.path.join(self.path, f"{name}{each}"))
        path = os.path.join(self.path, f"{name}.lock")
        descriptor = self._lock_file(path, reads)
        if descriptor < 0:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise disk_failed(path, "lock", error) from error
            who = f"process {holder}" if holder.isdigit() else "another process"
            raise FilesRefused(
                f"{name} is running already: {who} holds {path}; stop it first, or start this "
                "node under another name or with another --dir"
            ) from error
        with contextlib.suppress(OSError):  # the content only names the holder in messages
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        self._locks.append(descriptor)
        if not os.fstat(descriptor).st_mode & 0o077:
            self._mode = 0o600  # the node was protected, and a tool does not know its options
        if self._mode == 0o600 and not reads:
            self._shut(name)

    def _lock_file(self, path: str, reads: bool) -> int:
        """Return the open file of a lock, or -1 if it is missing and a reader can't create it."""
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, self._mode)
        except OSError as error:
            if not (reads and error.errno in NOT_ALLOWED):
                raise disk_failed(path, "open for writing", error, changed_nothing=True) from error
        with _readable(path), contextlib.suppress(FileNotFoundError):
            return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        return -1

    def _shut(self, name: str) -> None:
        """Remove other users' access to the files of a node from before it was protected."""
        own = (f"{name}.log", f"{name}.storage", f"{name}.state_machine", f"{name}.lock")
        for each in os.listdir(self.path):
            if each.startswith(own) or each == f".{name}.born":
                path = os.path.join(self.path, each)
                with contextlib.suppress(OSError):  # another owner's file stays as it is
                    if not os.path.islink(path) and os.stat(path).st_mode & 0o077:
                        os.chmod(path, self._mode)

    def _made(self, path: str, flags: int) -> int:
        """Return a new empty file. A link is not followed, since it may name someone else's
        file."""
        return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW, self._mode)

    def close(self) -> None:
        """Close open files, and release the lock."""
        for descriptor in [*self._overwritten.values(), *self._locks]:
            os.close(descriptor)
        self._overwritten.clear()
        self._locks.clear()

    def _path(self, name: str) -> str:
        # The real path, so that a rename replaces the linked file and not the link.
        return os.path.realpath(os.path.join(self.path, name))

    def _beside(self, name: str) -> str:
        # The replacement of a file is in the same folder as that file, which a link may name.
        of, _, end = name.rpartition(".")
        return f"{self._path(of)}.{end}" if end in _TO_BE else os.path.join(self.path, name)

    def _forget(self, name: str) -> None:
        descriptor = self._overwritten.pop(name, -1)
        if descriptor >= 0:
            os.close(descriptor)


@contextlib.contextmanager
def _whole_or_gone(
    written: str, path: str, action: str, *, changed_nothing: bool = False
) -> Iterator[None]:
    """Remove the file `written` if the block fails. `path` is the file to report."""
    try:
        yield
    except BaseException as error:  # the content may raise, and Ctrl-C may arrive
        with contextlib.suppress(OSError):
            os.unlink(written)
        if isinstance(error, OSError):
            raise disk_failed(path, action, error, changed_nothing=changed_nothing) from error
        raise


def _check_no_link(path: str) -> None:
    if os.path.islink(path):
        raise FilesRefused(
            f"{path}: is a link, which a node does not follow: it would write to the file that the "
            "link names. Remove the link, and find out who made it"
        )


def can_be_written_by_others(path: str) -> bool:
    """Return whether other users of this machine can add files to a folder, or remove files."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return bool(mode & (stat.S_IWGRP | stat.S_IWOTH)) and not mode & stat.S_ISVTX


def _device_of(path: str) -> int:
    """Return the device of a folder, or of its nearest existing parent."""
    while True:
        try:
            return os.stat(path).st_dev
        except FileNotFoundError:
            path = os.path.dirname(os.path.abspath(path))


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        sync_all(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[str]:
    """Yield the path of an empty folder, and rename it to `path`, durably, once the caller has
    filled it.

    Files that belong together appear together. The folder may replace an empty folder, and then
    gets its mode and owner. After an error nothing is left. A killed process leaves PATH.new-XXXX.

    Raises:
        DiskFailed: it can't be renamed. Another process may have put files there meanwhile.
            FilesRefused: it can't be created.
    """
    whole = os.path.realpath(path)
    beside = f"{whole}.new-{os.urandom(4).hex()}"
    filled = beside
    try:
        Folder(beside)
        yield beside
        try:
            if os.path.isdir(whole):
                _copy_rights(whole, beside)
            _sync_folder(beside)
            os.rename(beside, whole)
            filled = whole
            _sync_folder(os.path.dirname(whole))
        except OSError as error:
            raise disk_failed(whole, "write", error) from error
    except BaseException:  # Ctrl-C may arrive
        shutil.rmtree(filled, ignore_errors=True)
        raise


def _copy_rights(of: str, to: str) -> None:
    rights, own = os.stat(of), os.stat(to)
    if (rights.st_uid, rights.st_gid) != (own.st_uid, own.st_gid):
        os.chown(to, rights.st_uid, rights.st_gid)
    os.chmod(to, stat.S_IMODE(rights.st_mode))


def copied(folder: Folder, name: str, begin: int = 0) -> Iterator[bytes]:
    """Yield the content of a file, from byte `begin` on, for a copy."""
    with folder.read(name) as file:
        file.seek(begin)
        yield from iter(partial(file.read, _COPY_BYTES), b"")


def make_folder(path: str | os.PathLike[str]) -> None:
    """Create the folder and its parents durably, so that a power cut does not remove them.

    Raises:
        OSError: it can't be created, or a file has its name.
    """
    whole = os.path.abspath(path)
    if os.path.isdir(whole):
        return
    parent = os.path.dirname(whole)
    if parent != whole:
        make_folder(parent)
    os.makedirs(whole, exist_ok=True)
    _sync_folder(parent)


def _sync_name(path: str) -> None:
    """Make the name of a folder durable: a person or a killed node may have created it without a
    sync. A parent that can't be read is skipped."""
    with contextlib.suppress(OSError):
        _sync_folder(os.path.dirname(os.path.realpath(path)))
