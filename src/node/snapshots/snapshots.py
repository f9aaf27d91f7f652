"""Snapshots: taking one, compacting the log after it, sending its pieces, and checking one that
arrives (docs/develop/how-a-write-travels.md).

This module has no threads and no waiting. The work is done by two jobs, `take_and_check` and
`send_pieces`. Each yields a Turn when it needs a resource that others hold, or has nothing to do,
and None after each small piece of work, so that others run. snapshot_threads.py has a thread for
each job; a schedule runs them on a virtual clock.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from enum import Enum
from typing import BinaryIO, NamedTuple, Protocol, TypeVar
from zlib import crc32

from ...logmanager import LogManager
from ...raft.inputs import (
    Compact,
    Input,
    SnapshotChecked,
    SnapshotGone,
    SnapshotRejected,
    SnapshotTaken,
    StateSummed,
)
from ...raft.log import Entry, Snapshot
from ...raft.messages import InstallSnapshot
from ...raft.node import RawNode
from ...storage.disk import DiskFailed, StateRefused, StorageError
from ...storage.log_file import LogFile, LogRewrite
from ...storage.snapshot_lines import MachineState, lines_of
from ...storage.sums import is_due, state_sum
from ...wire.limits import DISK_PART, PAIR_BYTES
from ..disk_room import least_of
from ..loop.writer import WriteQueue

COMPACT_BYTES = 8 << 20  # a log shorter than this is never compacted
GROWTH = 2  # nor a log that is shorter than this multiple of the last snapshot
RETRY_S = 1.0  # between two checks of whether the disk has room for a snapshot
NEVER = 1 << 62  # bytes; no log gets this long, so no snapshot is due
SPREAD = 1.25  # the largest random factor of the length at which a snapshot is due
COPY_ENTRIES = 500  # copied at a time, under the core's lock
CHECK_BYTES = 1 << 19  # read at once
OPEN_MAX = 4  # snapshots that are being sent, including earlier ones
TO_SUM_MAX = 4  # frozen states that wait to be summed
IDLE_S = 10.0  # files are closed if no piece is requested in this time

_Result = TypeVar("_Result")


class When(Enum):
    """The moment at which a job can continue."""

    WOKEN = "it was woken, or its time is over"
    NOTHING_OFFLOADED = "no entry is applied without `core`, until the act is done"
    BETWEEN_WRITES = "nothing is being written, until the act is done"


class Turn(NamedTuple):
    """A wait of a job.

    The job receives the result of `act`, or whether it was woken. An act between writes that
    returns False is called again after the next write; the job receives False if the node stops
    first.
    """

    when: When
    act: Callable[[], bool] = bool
    limit_s: float = -1  # the longest wait to be woken; -1: without limit


Turns = Generator[Turn | None, bool, _Result]


class SnapshotRim(Protocol):
    """The node around the two jobs."""

    @property
    def core(self) -> AbstractContextManager[object]: ...  # held to read the core
    def step(self, taken: Input) -> None: ...
    def post(self, message: InstallSnapshot) -> None: ...  # complete with its data
    def say(self, line: str) -> None: ...
    def pause(self) -> None: ...  # pauses during work that can't yield a turn
    def spread(self) -> float: ...  # a random number from 1 to SPREAD
    def wake_taker(self) -> None: ...
    def wake_sender(self) -> None: ...


class Snapshots:
    """Takes, checks and sends the snapshots of one node, as its two jobs."""

    def __init__(
        self,
        node: RawNode,
        logmanager: LogManager,
        writes: WriteQueue,
        rim: SnapshotRim,
        compact_bytes: int,
    ) -> None:
        self._node = node
        self._logmanager = logmanager
        self._writes = writes
        self._rim = rim
        self._name = logmanager.name
        self._files = logmanager.snapshots
        self._compact_bytes = compact_bytes
        self._due_bytes = self._next_due(0)
        self._arrived: deque[Snapshot] = deque(maxlen=1)  # the latest one, to check
        self._rotten: Snapshot | None = None  # in force, but damaged, so it can't be sent
        self._to_sum: deque[MachineState] = deque()  # frozen
        self._is_asked = False
        self._files_are_lost = False
        self._wanted: deque[InstallSnapshot] = deque()
        self._open: dict[Snapshot, BinaryIO] = {}
        # The free bytes of the disk, and its size; by default the disk is endless.
        self.disk: Callable[[], tuple[int, int]] = lambda: (1 << 62, 0)
        # Whether a leader would refuse writes for lack of room on the disk, as of the last look.
        self.is_disk_short: Callable[[], bool] = lambda: False
        self._is_short = False  # the disk lacks room for a snapshot
        self._tried_index = 0  # the last applied entry when a snapshot was tried to free the disk

    # --- from any thread -------------------------------------------------------------------

    def wrote(self, arrived: Snapshot | None) -> None:
        """Record that the log has grown, or that a whole snapshot has arrived; never wait."""
        if arrived is not None:
            self._arrived.append(arrived)
        is_due = self._logmanager.log_bytes > self._due_bytes or self.is_disk_short()
        if arrived is not None or is_due:
            self._rim.wake_taker()

    def ask(self, *, compacts: bool = False) -> None:
        """Request a snapshot soon, however short the log is. The log stays as it is unless this
        `compacts`."""
        if compacts:
            self._due_bytes = -1
        else:
            self._is_asked = True
        self._rim.wake_taker()

    def write_again(self) -> None:
        """Request a snapshot, and a rewrite of the log after it, since files are lost."""
        self._files_are_lost = True
        self._rim.wake_taker()

    def sum_state(self) -> None:
        """Freeze the state, to be summed, if the last applied entry asks for that, or if it is due
        after that entry; never wait. The caller holds `core`, and nothing is being applied. If
        earlier states are not summed yet, this one may be left out."""
        manager = self._logmanager
        if not manager.store.to_sum:
            if self._to_sum or not is_due(manager.applied.index, manager.state_lines):
                return
        elif len(self._to_sum) >= TO_SUM_MAX:
            return
        with contextlib.suppress(StateRefused):
            self._to_sum.append(manager.freeze(even_differing=manager.store.to_sum))
            self._rim.wake_taker()

    def send(self, message: InstallSnapshot) -> None:
        """Queue a piece of a snapshot, to be read from its file and sent; never wait."""
        self._wanted.append(message)
        self._rim.wake_sender()

    # --- taking and checking ---------------------------------------------------------------

    def take_and_check(self) -> Turns[None]:
        """Take and check snapshots whenever one is due: one of the two jobs."""
        while True:
            try:
                if self._to_sum:
                    yield from self._sum(self._to_sum[0])
                elif self._arrived:
                    yield from self._check(self._arrived.pop())
                elif self._files_are_lost:
                    self._files_are_lost = False
                    yield from self._take(is_needed=self._logmanager.applied.index > 0)
                elif self._rotten or self._is_due():
                    yield from self._take(is_needed=self._rotten is not None)
                elif self._is_asked:
                    self._is_asked = False
                    yield from self._take(compacts=False)
                else:
                    looks_again = self._is_short or self.is_disk_short()
                    yield Turn(When.WOKEN, limit_s=RETRY_S if looks_again else -1)
                    if self._is_short and not self._lacks_room():
                        self._due_bytes = -1
            except StorageError as error:
                # The snapshot in force is unchanged; the node can continue without a new one.
                self._rim.say(f"[!] {self._name} could take no snapshot: {error.survived}")
                self._due_bytes = self._logmanager.log_bytes + self._compact_bytes
                self._rotten = None  # detected again at the next request

    def _sum(self, state: MachineState) -> Turns[None]:
        """Sum a frozen state, and report the sum to the core."""
        try:
            total = yield from state_sum(lines_of(state))
        finally:
            self._to_sum.popleft()
            state.release(self._rim.pause)
        self._rim.step(StateSummed(state.index, total, state.chain))

    def _take(self, *, compacts: bool = True, is_needed: bool = False) -> Turns[None]:
        """Take a snapshot of the present state, and let the log begin after it. If there is nothing
        new, do so only if it `is_needed`."""
        current, has_news = self._files.current, self._has_news()
        if not is_needed and (not has_news or self._lacks_room()):
            if compacts and not has_news:  # nothing new: look again when it grows
                self._due_bytes = self._logmanager.log_bytes
            return
        if not self._logmanager.members.voters:
            # The node was born to join, and has not reached the first entry that names members.
            self._due_bytes = self._logmanager.log_bytes + self._compact_bytes
            return
        state = yield from self._frozen()
        if state is None:
            self._due_bytes, self._rotten = NEVER, None  # until a snapshot replaces the state
            return
        keys = len(state.pairs)
        writing, state = self._files.writing(state, self._rim.pause), None
        try:
            snapshot = yield from writing
        except StorageError:
            self._files.discard()
            raise
        old = self._opened(current)
        published = yield from self._publish(snapshot)
        if old is not None:
            old.close()  # frees its bytes, which takes a while; no writer waits here
        if not published:
            return
        self._rotten = None
        self._rim.step(SnapshotTaken(snapshot))
        self._rim.say(
            f"[*] {self._name} took a snapshot: the state after entry {snapshot.index}, "
            f"{keys:,} key{'s' * (keys != 1)}, {snapshot.size:,} bytes"
        )
        if compacts:
            yield from self._compact(snapshot)
            self._due_bytes = self._next_due(self._logmanager.log_bytes)

    def _is_due(self) -> bool:
        """Whether a snapshot is due, since the log is long, or since it frees the disk: that is
        tried once for each applied entry."""
        if self._logmanager.log_bytes > self._due_bytes:
            return True
        index = self._logmanager.applied.index
        if index == self._tried_index or not (self._has_news() and self.frees_disk()):
            return False
        self._tried_index = index
        return True

    def _has_news(self) -> bool:
        """Whether an entry was applied since the snapshot in force."""
        current = self._files.current
        return self._logmanager.applied.index > (current.index if current is not None else 0)

    def frees_disk(self) -> bool:
        """Whether the disk is short, and a snapshot would free most of the bytes of this node: the
        log that takes no writes does not grow until a snapshot is due."""
        left, whole = self.disk()
        current = self._files.current
        held = self._logmanager.log_bytes + (current.size if current is not None else 0)
        least = least_of(whole)
        return left < 2 * least and held > 2 * self._size() + least // 4

    def _size(self) -> int:
        """Return the approximate size of the next snapshot."""
        store = self._logmanager.store
        return store.pair_bytes - PAIR_BYTES * len(store)

    def _frozen(self) -> Turns[MachineState | None]:
        """Return the present state, frozen, or None if it may not be read. All applied entries are
        reported to the core then."""
        states: list[MachineState] = []

        def freeze() -> bool:
            with contextlib.suppress(StateRefused):
                states.append(self._logmanager.freeze())
            return True

        yield Turn(When.NOTHING_OFFLOADED, freeze)
        return states.pop() if states else None

    def _lacks_room(self) -> bool:
        """Whether a snapshot would leave too little of the disk for the log; report this once, and
        check again soon."""
        left, whole = self.disk()
        size = self._size()
        was_short, self._is_short = self._is_short, left - size < least_of(whole)
        if self._is_short and size <= left // DISK_PART and self.frees_disk():
            self._is_short = False
        if self._is_short and not was_short:
            self._rim.say(
                f"[!] {self._name} takes no snapshot: the disk has {left:,} bytes left, and the "
                "log needs some of them"
            )
        if self._is_short:
            self._due_bytes = NEVER
        return self._is_short

    def _opened(self, snapshot: Snapshot | None) -> BinaryIO | None:
        """Return the file of a snapshot that is about to be replaced. Return None if there is no
        snapshot, or if it can't be read, which the new one fixes."""
        try:
            return self._files.open(snapshot) if snapshot is not None else None
        except (OSError, StorageError):
            return None

    def _publish(self, snapshot: Snapshot) -> Turns[bool]:
        """Put this node's own snapshot in force; return False if a later one arrived.

        An arrived snapshot that waits to be put in force is written first; otherwise it would
        displace this one, which is newer. The term of the last entry is also written first.

        Raises:
            DiskFailed: it could not be renamed. The old one is in force.
        """
        published: list[bool] = []

        def publish() -> bool:
            with self._rim.core:
                if self._writes.goes_first:
                    return False
            self._logmanager.check_places()
            published.append(self._files.publish(snapshot))
            return True

        is_done = yield from _between_writes(publish)
        return is_done and published[0]

    def _compact(self, snapshot: Snapshot) -> Turns[None]:
        """Rewrite the log after the snapshot, then drop the entries in the snapshot from memory.

        The log grows in each pause, so the last copy is the first that is not full. Entries that
        came during that one are copied between two writes.
        """
        rewrite = self._logmanager.begin_rewrite(snapshot)
        is_done = False
        try:
            while len(entries := self._committed_entries(rewrite.next_index)) == COPY_ENTRIES:
                rewrite.copy(entries)
                yield None
            rewrite.copy(entries)
            rewrite.sync()
            is_done = yield from self._finish(rewrite)
        finally:
            if not is_done:
                rewrite.abandon()
        if not is_done:
            return
        with self._rim.core:
            index = self._node.view.compaction_index
        while self._drop(index):
            yield None
        self._rim.say(
            f"[*] {self._name}.log begins after entry {snapshot.index} now, "
            f"{self._logmanager.log_bytes:,} bytes"
        )

    def _committed_entries(self, first: int) -> Sequence[Entry]:
        """Return committed entries from `first` on that are on this node's disk."""
        with self._rim.core:
            durable = self._node.view.durable_index - first + 1
            return self._node.committed(first, min(COPY_ENTRIES, durable))

    def _finish(self, rewrite: LogRewrite) -> Turns[bool]:
        """Replace the log with the rewritten one; return False if the node stops first. This job
        also installs snapshots, so none is installed meanwhile.

        The remaining entries are copied from the log in memory. It may be ahead of the disk, or may
        have cut entries that the disk still has: then the waiting steps are written first.

        Raises:
            DiskFailed: the new log could not be written. The old one is in force.
        """
        finished: list[LogFile | None] = []

        def finish() -> bool:
            with self._rim.core:
                log, last = self._node.view.log, self._logmanager.last_written
                if last + 1 < rewrite.next_index or self._writes.goes_first:
                    return False
                rest = log.entries(rewrite.next_index, last)
            finished.append(self._logmanager.finish_rewrite(rewrite, rest))
            return True

        is_done = yield from _between_writes(finish)
        for old in finished:
            if old is not None:
                old.close()  # frees its bytes, which takes a long time; no writer waits here
        return is_done

    def _drop(self, index: int) -> bool:
        """Drop a few thousand entries up to `index` from memory; return whether more remain. Pause
        before the next call, or no other thread gets the lock."""
        self._rim.step(Compact(index))
        with self._rim.core:
            return self._node.view.log.base_index < index

    def _next_due(self, left_bytes: int) -> int:
        """Return how long the log may become, if `left_bytes` of it follow the snapshot.

        A random factor keeps the nodes apart: if a quorum pauses at the same moment, every write
        waits for it, but no write waits for a single follower.
        """
        return left_bytes + int(self.growth_bytes * self._rim.spread())

    @property
    def growth_bytes(self) -> int:
        """The growth of the log from one snapshot to the next, in bytes."""
        current = self._files.current
        size = current.size if current is not None else 0
        return max(self._compact_bytes, GROWTH * size)

    def _check(self, snapshot: Snapshot) -> Turns[None]:
        """Check a snapshot that has arrived, and hand it to the core or refuse it."""
        pause = self._rim.pause
        try:
            loaded = self._files.check(snapshot, pause)
            self._logmanager.arrived(loaded, pause)
        except (ValueError, StorageError) as error:
            why = error.survived if isinstance(error, StorageError) else str(error)
            self._rim.step(SnapshotRejected(snapshot, why))
            return
        members, cluster, needs = loaded.members, loaded.cluster, loaded.needs
        del loaded

        def hand_over() -> bool:
            self._rim.step(SnapshotChecked(snapshot, members, cluster, needs))
            return True

        yield None
        yield Turn(When.NOTHING_OFFLOADED, hand_over)  # the state machine is replaced in this step
        yield from self._logmanager.free_left()
        self._due_bytes = self._next_due(0)

    # --- sending ---------------------------------------------------------------------------

    def send_pieces(self) -> Turns[None]:
        """Send each requested piece: the other job."""
        try:
            while True:
                if not self._wanted:
                    if not (yield Turn(When.WOKEN, limit_s=IDLE_S if self._open else -1)):
                        self._close_all()
                    continue
                message = self._wanted.popleft()
                try:
                    yield from self._send_piece(message)
                except (OSError, StorageError) as error:
                    self._not_read(message, error)
        finally:
            self._close_all()

    def _send_piece(self, message: InstallSnapshot) -> Turns[None]:
        """Read one piece and send it; a snapshot that is gone is replaced by the snapshot in
        force."""
        snapshot = message.snapshot
        if snapshot == self._rotten:
            return  # the new one will be sent instead
        file = self._open.get(snapshot)
        if file is None or message.offset == 0 < message.length:
            file = yield from self._checked(snapshot)
        if file is not None:
            file.seek(message.offset)
            data = file.read(message.length).decode("utf-8", "surrogateescape")
            self._rim.post(replace(message, data=data))
        elif self._files.current != snapshot:
            self._rim.step(SnapshotGone(message.to, snapshot))
        else:
            self._replace_rotten(snapshot, "has rotted on the disk, as its CRC-32 shows")

    def _not_read(self, message: InstallSnapshot, error: OSError | StorageError) -> None:
        """Report an error in reading a snapshot. A file that the disk can't read is rotten, too; a
        file that can't be opened may only lack a descriptor."""
        snapshot = message.snapshot
        if (file := self._open.pop(snapshot, None)) is not None:
            file.close()
        if isinstance(error, OSError) and self._files.current == snapshot:
            self._replace_rotten(snapshot, f"can't be read: {error.strerror or error}")
        else:
            self._rim.say(f"[!] {self._name} can't read its snapshot for {message.to}: {error}")

    def _replace_rotten(self, snapshot: Snapshot, why: str) -> None:
        self._rotten = snapshot
        self._rim.say(
            f"[!] {self._files.name} {why}. It is not sent to anyone; {self._name} takes a new one"
        )
        self._rim.wake_taker()

    def _checked(self, snapshot: Snapshot) -> Turns[BinaryIO | None]:
        """Return the file of a snapshot to send, after checking all of it; None if it is missing or
        damaged. A receiver would refuse a damaged file repeatedly."""
        file = self._open.pop(snapshot, None) or self._files.open(snapshot)
        if file is None:
            return None
        self._open[snapshot] = file
        if len(self._open) > OPEN_MAX:
            self._open.pop(next(iter(self._open))).close()
        size = crc = 0
        file.seek(0)
        while data := file.read(CHECK_BYTES):
            size, crc = size + len(data), crc32(data, crc)
            yield None
        if (size, crc) == snapshot[2:]:
            return file
        self._open.pop(snapshot).close()
        return None

    def _close_all(self) -> None:
        while self._open:
            self._open.popitem()[1].close()


def _between_writes(act: Callable[[], bool]) -> Turns[bool]:
    """Do this between two writes. An error there stops the node, unless it has `changed_nothing`:
    then it is raised here, after the turn."""
    failed: list[DiskFailed] = []

    def act_or_fail() -> bool:
        try:
            return act()
        except DiskFailed as error:
            if not error.changed_nothing:
                raise
            failed.append(error)
            return True

    is_done = yield Turn(When.BETWEEN_WRITES, act_or_fail)
    if failed:
        raise failed[0]
    return is_done
