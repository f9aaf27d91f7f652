"""Backups: copies of a node's state that connections fetch piece by piece (docs/use/protocol.md).

Each is the text of a snapshot, in a nameless file in the node's folder. It disappears with the
connection that asked for it, or with the process. All backups together leave room on the disk for
the log, and there are only a few at a time. A backup that is not read for a long time gives way to
another one.
"""

from __future__ import annotations

import math
import tempfile
import threading
import time
from collections.abc import Callable
from json.encoder import encode_basestring

from ..common.process.wakeup import PauseFunction, Pauses
from ..storage.snapshot_lines import MachineState, checked_pieces
from ..wire.limits import BACKUP_S, BACKUPS
from ..wire.refusal import BACKUP_FAILED, NO_ROOM_FOR_BACKUP, TOO_MANY_BACKUPS, RequestRefused

PIECE_BYTES = 256 << 10
Spares = Callable[[str, int], bool]  # whether a file in a folder may grow by a number of bytes


class BackupFailed(RequestRefused):
    """The state can't be copied. The message is the text of the reply."""


class BackupFile:
    """The state at one moment; `begin` identifies it, `piece` returns its bytes."""

    def __init__(self, folder: str, has_room: Callable[[int], bool]) -> None:
        """Prepare the copy; `write` fills it. `has_room` returns whether a number of bytes fits."""
        self._folder = folder
        self._has_room = has_room
        self._index = self._term = self._size = self._crc = 0

    def write(self, state: MachineState) -> None:
        """Write the state to the file, with pauses for other threads.

        Raises:
            BackupFailed: the disk has no room for it, for example; the file is removed.
        """
        self._index, self._term = state.index, state.term
        pause = Pauses().pause
        try:
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115, read later
            try:
                self._fill(state, pause)
            except BaseException:
                self.close()
                raise
        except OSError as failure:
            raise BackupFailed(
                BACKUP_FAILED(self._folder, failure.strerror or failure)
            ) from failure
        finally:
            state.release(pause)

    def _fill(self, state: MachineState, pause: PauseFunction) -> None:
        for data, crc in checked_pieces(state):
            if not self._has_room(len(data)):
                raise BackupFailed(NO_ROOM_FOR_BACKUP(self._folder))
            self._file.write(data)
            self._size, self._crc = self._size + len(data), crc
            pause()
        self._file.flush()

    @property
    def begin(self) -> str:
        """The index and the term of the last entry in the state, its size and its CRC-32."""
        return f"{self._index}-{self._term} of {self._size} bytes crc32 {self._crc:08x}"

    def piece(self, offset: int) -> str:
        """Return the bytes from `offset` on as a JSON string, which is empty at the end. A byte
        that is not UTF-8, because a character was cut in two, is `\\udcNN` in it.

        Raises:
            ValueError: the file is closed.
        """
        self._file.seek(offset)
        text = encode_basestring(self._file.read(PIECE_BYTES).decode("utf-8", "surrogateescape"))
        return f"from {offset} " + text.encode("utf-8", "backslashreplace").decode()

    def close(self) -> None:
        """Free the room of the file; any thread may call this."""
        self._file.close()


class Backups:
    """All backups of a node; any thread may call."""

    def __init__(self, spares: Spares, now_s: Callable[[], float] = time.monotonic) -> None:
        self._spares = spares
        self._now_s = now_s
        self._lock = threading.Lock()
        self._read_s: dict[BackupFile, float] = {}  # the time of each one's last read

    def make(self, folder: str, freeze: Callable[[], MachineState]) -> BackupFile:
        """Return a copy of the applied state.

        Raises:
            BackupFailed: there are too many backups, or the disk has no room for it.
            StateRefused: raised by `freeze`.
        """
        file = BackupFile(folder, lambda size: self._has_room(folder, size))
        while not self._has_place(file):
            if not self._ends_one():
                raise BackupFailed(TOO_MANY_BACKUPS)
        try:
            file.write(freeze())
        except BaseException:
            self._forget(file)
            raise
        self.touch(file)
        return file

    def _has_place(self, file: BackupFile) -> bool:
        """Take a place if there is one. A backup that is being written is not ended."""
        with self._lock:
            if len(self._read_s) >= BACKUPS:
                return False
            self._read_s[file] = math.inf
            return True

    def _has_room(self, folder: str, size: int) -> bool:
        while not self._spares(folder, size):
            if not self._ends_one():
                return False
        return True

    def _ends_one(self) -> bool:
        """End the least recently read backup, if it has been idle for too long; return whether it
        was."""
        with self._lock:
            file = min(self._read_s, key=self._read_s.__getitem__, default=None)
            if file is None or self._read_s[file] > self._now_s() - BACKUP_S:
                return False
            del self._read_s[file]
        file.close()  # waits for a read that is under way
        return True

    def touch(self, file: BackupFile) -> None:
        """Note that a backup is being read, unless it was ended."""
        with self._lock:
            if file in self._read_s:
                self._read_s[file] = self._now_s()

    def end(self, file: BackupFile) -> None:
        """Free the room of a backup that is no longer needed."""
        self._forget(file)
        file.close()

    def _forget(self, file: BackupFile) -> None:
        with self._lock:
            self._read_s.pop(file, None)
