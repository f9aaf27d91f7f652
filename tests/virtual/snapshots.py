"""Snapshots at one simulated node: taken, put in force, sent in pieces, checked, installed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

from raftline.raft.entries import Snapshot
from raftline.raft.inputs import (
    Input,
    SnapshotChecked,
    SnapshotGone,
    SnapshotRejected,
    SnapshotTaken,
)
from raftline.raft.messages import InstallSnapshot, Message
from raftline.raft.node import RawNode
from raftline.storage.disk import DiskFailed, StorageError
from raftline.storage.snapshotfile import no_pause
from tests.core.cores import compact
from tests.virtual.disk import Disk
from tests.virtual.manager import Manager
from tests.virtual.world import World


class Rim(Protocol):
    """The node around its snapshots."""

    name: str
    manager: Manager
    disk: Disk

    @property
    def goes_first(self) -> bool: ...
    def step(self, taken: Input) -> None: ...
    def later(self, delay_ms: int, act: Callable[[RawNode], None]) -> None: ...
    def within(self, longest_ms: int, act: Callable[[RawNode], None]) -> None: ...
    def post(self, message: Message) -> None: ...


class Snapshots:
    """The work of the two threads of snapshots beside a node, in virtual time."""

    def __init__(self, world: World, share: float, rim: Rim) -> None:
        self._world = world
        self._share = share
        self._rim = rim
        self._is_taking = False

    def started(self) -> None:
        """The node begins anew, and nothing is under way."""
        self._is_taking = False

    def maybe_take(self) -> None:
        """Take a snapshot now and then."""
        if not self._is_taking and self._share and self._world.chance(self._share):
            self.take()

    def take(self) -> None:
        """Freeze the state and write it; it comes in force a little later."""
        files, manager = self._rim.manager.snapshots, self._rim.manager
        if not manager.members.voters:  # it has not come to the first entry that names members
            self._world.counts["snapshots put off: no members known"] += 1
            return
        try:
            snapshot = files.write(manager.freeze(), no_pause)
        except DiskFailed:
            with contextlib.suppress(DiskFailed):
                files.discard()
            return
        self._is_taking = True
        self._rim.within(50, lambda node: self._publish(node, snapshot))

    def _publish(self, node: RawNode, snapshot: Snapshot) -> None:
        """Put the snapshot in force, and the log after it, as soon as the disk has what must be
        there before; other writes may wait."""
        rim = self._rim
        if rim.goes_first:
            rim.later(1, lambda node: self._publish(node, snapshot))
            return
        with self._perhaps_the_last_steps():
            if not rim.manager.snapshots.publish(snapshot):
                self._is_taking = False
                return
        index, term = snapshot[:2]
        self._world.tell("disk", f"{rim.name} takes a snapshot up to entry {index} of term {term}")
        rim.step(SnapshotTaken(snapshot))
        rim.within(5, lambda node: self._compact(node, snapshot))

    @contextlib.contextmanager
    def _perhaps_the_last_steps(self) -> Iterator[None]:
        """Let the node die now and then in the midst of this."""
        if dies := self._world.chance(0.1):
            self._rim.disk.die_soon()
        yield
        if dies:
            self._rim.disk.folder.fault = None

    def _compact(self, node: RawNode, snapshot: Snapshot) -> None:
        """Begin the log anew after the snapshot, once the disk has it that far; not after one
        that another has displaced."""
        rim, manager = self._rim, self._rim.manager
        if node.view.snapshot != snapshot:
            self._is_taking = False
        elif rim.goes_first or manager.last_written < snapshot.index:
            rim.later(1, lambda node: self._compact(node, snapshot))
        else:
            self._is_taking = False
            with self._perhaps_the_last_steps():
                self._begin_log_anew(node, snapshot)

    def _begin_log_anew(self, node: RawNode, snapshot: Snapshot) -> None:
        manager = self._rim.manager
        rewrite = manager.begin_rewrite(snapshot)
        last = min(node.view.commit_index, manager.last_written)
        rewrite.copy(node.view.log.entries(rewrite.next_index, last))
        rewrite.sync()
        rest = node.view.log.entries(rewrite.next_index, manager.last_written)
        manager.finish_rewrite(rewrite, rest)
        while compact(node, node.view.compaction_index):
            pass
        self._world.counts["snapshots taken"] += 1

    def arrived(self, snapshot: Snapshot) -> None:
        """Check what has arrived, a little later, and hand it to the core or refuse it."""
        self._rim.within(20, lambda node: self._check(node, snapshot))

    def _check(self, node: RawNode, snapshot: Snapshot) -> None:
        rim = self._rim
        try:
            loaded = rim.manager.snapshots.check(snapshot, no_pause)
        except (ValueError, StorageError) as error:
            self._world.counts["snapshots refused"] += 1
            rim.step(SnapshotRejected(snapshot, str(error)))
            return
        rim.manager.arrived(loaded)
        rim.step(SnapshotChecked(snapshot, loaded.members, loaded.level))

    def send_piece(self, message: InstallSnapshot) -> None:
        """Read a piece from the file and send it; say so where that snapshot is gone."""
        rim, peer, snapshot = self._rim, message.to, message.snapshot
        try:
            file = rim.manager.snapshots.open(snapshot)
        except StorageError:
            return
        if file is None:
            rim.later(0, lambda node: rim.step(SnapshotGone(peer, snapshot)))
            return
        with file:
            file.seek(message.offset)
            data = file.read(message.length).decode("utf-8", "surrogateescape")
        self._world.counts["pieces sent"] += 1
        rim.post(
            InstallSnapshot(
                message.sender,
                peer,
                message.term,
                snapshot,
                message.offset,
                message.length,
                message.round,
                data,
            )
        )
