"""The file NAME.state_machine: written, received, checked and published.

The node writes it as NAME.state_machine.tmp, or receives it from a leader as
NAME.state_machine.part. Either file is synced before it gets its final name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import BinaryIO

from ..common.process.wakeup import PauseFunction, no_pause
from ..raft.effects import Chunk
from ..raft.log import Snapshot
from ..raft.membership import all_vote
from .disk import AppendFile, BuildRefused, DiskFailed
from .folder import Folder, opened
from .log_lines import LINE_BYTES_MAX
from .lost_files import FileState, Identity, compare
from .snapshot_lines import (
    HEAD,
    LoadedSnapshot,
    MachineState,
    SnapshotReader,
    checked_pieces,
)

SYNC_BYTES = 4 << 20  # synced in pieces, so that a sync of the log waits only briefly


class SnapshotFile:
    """The snapshot of one node: written, received, checked and published.

    `current` is the published snapshot. `publish`, `write_chunk` and `install` are called while no
    other thread writes the node's files. `writing` and `check` may run at any time.
    """

    def __init__(self, folder: Folder, node: str) -> None:
        self.name = f"{node}.state_machine"
        self.current: Snapshot | None = None
        self.members = all_vote({})  # members of `current`
        self.cluster = ""  # the identity in `current`
        self.chain = 0  # of `current`
        self._identity: Identity = (0, 0)  # of the file of `current`
        self._written = (self.members, "", 0)  # of the unpublished snapshot
        self._folder = folder
        self._beside = f"{self.name}.tmp"
        self._part_name = f"{self.name}.part"
        self._part: AppendFile | None = None
        self._part_unsynced = 0
        self._part_failure: DiskFailed | None = None  # of the arriving snapshot

    def use(self, loaded: LoadedSnapshot) -> None:
        """Remember the content of the published file as the current snapshot."""
        self.current = loaded.snapshot
        self.members, self.cluster, self.chain = loaded.members, loaded.cluster, loaded.chain
        self._identify()

    def read(self) -> LoadedSnapshot:
        """Return the content of the published file, without changing any file.

        Raises:
            ValueError: it fails its checks. The text begins with the line.
            FilesRefused: it can't be read.
        """
        return _read(self._folder, self.name, no_pause)

    def writing(self, state: MachineState, pause: PauseFunction) -> Generator[None, None, Snapshot]:
        """Write a snapshot under a temporary name, piece by piece, and sync it; `publish` renames
        it. If the generator is closed early, a partial file is left.

        The state is released at the end, even after an error.

        Raises:
            DiskFailed: for example, the disk is full. The published snapshot is unchanged.
        """
        try:
            return (yield from self._write(state))
        finally:
            state.release(pause)

    def _write(self, state: MachineState) -> Generator[None, None, Snapshot]:
        size = crc = unsynced = 0
        file = self._folder.create(self._beside)
        try:
            for data, crc_so_far in checked_pieces(state):
                file.append(data)
                size, unsynced, crc = size + len(data), unsynced + len(data), crc_so_far
                if unsynced > SYNC_BYTES:
                    file.sync()
                    unsynced = 0
                yield
            file.sync()
        finally:
            file.close()
        self._written = (state.members, state.cluster, state.chain)
        return Snapshot(state.index, state.term, size, crc)

    def publish(self, snapshot: Snapshot) -> bool:
        """Publish the snapshot that was just written. Return False if a later one arrived
        meanwhile.

        Raises:
            DiskFailed: if it has `changed_nothing`, the old snapshot is in force, and the new one
                is deleted. Otherwise either may have the name after a crash: both are whole, and
                the log still begins after the old one.
        """
        if self.current is not None and self.current.index > snapshot.index:
            self.discard()
            return False
        before = self.current, self.members, self.cluster, self.chain
        # Before the rename, so that a reader does not take the new file for a damaged old one.
        self.current = snapshot
        self.members, self.cluster, self.chain = self._written
        try:
            self._folder.rename(self._beside, self.name)
        except DiskFailed as failure:
            if failure.changed_nothing:
                self.current, self.members, self.cluster, self.chain = before
                self.discard()
            raise
        self._identify()
        return True

    def discard(self) -> None:
        """Delete the unpublished snapshot. If the disk fails, it stays until the next start."""
        self._remove(self._beside)

    def write_chunk(self, chunk: Chunk) -> None:
        """Add bytes to the arriving snapshot. They are not synced: its CRC-32 shows a loss.

        If the disk is full or fails, the file is removed, and `check` reports that: the files in
        force are whole, and the leader sends the snapshot again.
        """
        try:
            self._write_part(chunk)
        except DiskFailed as failure:
            self._part_failure = failure
            self._close_part()
            self._remove(self._part_name)

    def _write_part(self, chunk: Chunk) -> None:
        if chunk.offset == 0:
            self._close_part()
            self._part_failure = None
            self._part = self._folder.create(self._part_name)
            self._part_unsynced = 0
        if self._part is not None:
            self._part.append(chunk.data)
            self._part_unsynced += len(chunk.data)
            if self._part_unsynced > SYNC_BYTES:
                self._part.sync()
                self._part_unsynced = 0

    def _remove(self, name: str) -> None:
        with contextlib.suppress(DiskFailed):
            self._folder.remove(name)

    def _close_part(self) -> None:
        if self._part is not None:
            self._part.close()
            self._part = None

    def check(self, snapshot: Snapshot, pause: PauseFunction) -> LoadedSnapshot:
        """Return the content of the received snapshot, and sync it.

        Raises:
            ValueError: it is damaged, or not the announced snapshot.
            FilesRefused, DiskFailed: it can't be read, or could not be written or synced.
        """
        if self._part_failure is not None:
            raise self._part_failure
        self._folder.open_append(self._part_name).close()
        loaded = _read(self._folder, self._part_name, pause)
        if loaded.snapshot != snapshot:
            raise ValueError(f"it is {loaded.snapshot}, but {snapshot} was announced")
        return loaded

    def install(self, loaded: LoadedSnapshot) -> None:
        """Publish the received snapshot after its check.

        It may have been received again since the check, so this syncs the file again.

        Raises:
            DiskFailed: the node must stop, since its core continues from the snapshot.
        """
        if self._part_failure is not None:
            raise self._part_failure
        if self._part is not None:
            self._part.put_in_force()
            self._part.sync()
            self._close_part()
        self._folder.rename(self._part_name, self.name)
        self.use(loaded)

    def _identify(self) -> None:
        file = self._folder.find(self.name)
        if file is not None:
            self._identity = file.identity

    def state_of_file(self) -> FileState:
        """Compare the file of this name with the published snapshot."""
        if self.current is None:
            return FileState.WHOLE
        return compare(self._folder.find(self.name), self._identity, self.current.size)

    def open(self, snapshot: Snapshot) -> BinaryIO | None:
        """Open the file of `snapshot` for reading pieces. Return None if it is no longer published.

        The opened file stays readable, even after a later file has its name.

        Raises:
            OSError: the disk can't read it.
            FilesRefused: it can't be opened.
        """
        if not self._folder.exists(self.name):
            return None
        file = self._folder.read(self.name)
        try:
            head = HEAD.fullmatch(file.readline(LINE_BYTES_MAX))
        except OSError:
            file.close()
            raise
        if head is None or (int(head[1]), int(head[2])) != snapshot[:2]:
            file.close()
            return None
        return file

    def close(self) -> None:
        self._close_part()


def _read(folder: Folder, name: str, pause: PauseFunction) -> LoadedSnapshot:
    """Return the content of a file.

    Raises:
        ValueError: it fails its checks. The text begins with the line.
        FilesRefused: it can't be read.
    """
    with opened(folder, name) as file:
        try:
            return SnapshotReader(file, pause).read()
        except BuildRefused as error:
            raise BuildRefused(f"{name}: {error}") from None
