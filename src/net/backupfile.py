"""The answer to `backup`: a copy of the node's state, fetched piece by piece (docs/repair.md).

The copy is the text of a snapshot, in a file without a name beside the node's own: it goes away
with the connection that asked for it, or with the process.
"""

from __future__ import annotations

import tempfile
import time
from json.encoder import encode_basestring
from zlib import crc32

from raftline.net.host import Batch, Host
from raftline.storage.disk import DiskFailed, disk_failed
from raftline.storage.snapshotlines import MachineState, spell_snapshot
from raftline.wire.protocol import NO_LEADER, error

PIECE_BYTES = 256 << 10
PAUSE_FACTOR = 2  # so many times as long as was computed, others get to run
PAUSE_S = 0.0005


class BackupFile:
    """The state as of one moment; `begin` names it, `piece` gives its bytes."""

    def __init__(self, state: MachineState, folder: str) -> None:
        """Write it down, without haste.

        Raises:
            DiskFailed: there is no room for it, say; nothing is left of it.
        """
        self._index, self._term = state.index, state.term
        self._size = self._crc = 0
        self._cpu_s = time.thread_time()
        try:
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115, read piece by piece
            for data in spell_snapshot(state):
                self._file.write(data)
                self._size += len(data)
                self._crc = crc32(data, self._crc)
                self._breathe()
            self._file.flush()
        except OSError as failure:
            raise disk_failed(folder, "write a backup", failure) from failure
        finally:
            state.release(self._breathe)

    def _breathe(self) -> None:
        time.sleep(max(PAUSE_S, PAUSE_FACTOR * (time.thread_time() - self._cpu_s)))
        self._cpu_s = time.thread_time()

    @property
    def begin(self) -> str:
        """Which entry it is the state after, of which term; its size and CRC-32."""
        return f"{self._index}-{self._term} of {self._size} bytes crc32 {self._crc:08x}"

    def piece(self, offset: int) -> str:
        """Return the bytes from `offset` on as a JSON string; at the end an empty one. A byte that
        is not UTF-8, because a character was cut in two, is `\\udcNN` in it."""
        self._file.seek(offset)
        text = encode_basestring(self._file.read(PIECE_BYTES).decode("utf-8", "surrogateescape"))
        return f"from {offset} " + text.encode("utf-8", "backslashreplace").decode()


class Backups:
    """The backup that one connection fetches."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._file: BackupFile | None = None

    def serve(self, command: str) -> str:
        """Copy the state, once this server is known to lead; or give a piece of that copy."""
        offset = command.rpartition(" ")[2]
        if offset == "backup":
            return self._begin()
        if self._file is None:
            return error("no backup was begun on this connection; begin with: backup")
        return f"BACKUP response: {self._file.piece(int(offset))}"

    def _begin(self) -> str:
        host = self._host
        batch = Batch(["backup"], is_read=True)
        host.submit(batch)
        if not batch.wait(host.patience_s):
            return NO_LEADER
        if batch.replies:
            return batch.replies[0]
        self._file = None  # frees the room of the one before
        try:
            self._file = BackupFile(host.logmanager.freeze(), host.logmanager.folder_path)
        except DiskFailed as failure:
            return error(str(failure))
        return f"BACKUP response: {self._file.begin}"
