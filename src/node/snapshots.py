"""Snapshots: when one is taken, how the log begins after it, which pieces are sent, and what is
done with one that arrives (docs/develop/how-a-write-travels.md).

Here are no threads and no waiting. The work is two jobs, `take_and_check` and `send_pieces`. Each
yields a Turn when it needs what others hold, or has nothing to do, and None after each small piece
of work, so that others run. snapshot_threads.py has a thread for each; a schedule does them on a
virtual clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from enum import Enum
from typing import BinaryIO, NamedTuple, Protocol, TypeVar
from zlib import crc32

from ..logmanager import LogManager
from ..raft.inputs import (
    Compact,
    Input,
    SnapshotChecked,
    SnapshotGone,
    SnapshotRejected,
    SnapshotTaken,
)
from ..raft.log import Entry, Snapshot
from ..raft.messages import InstallSnapshot
from ..raft.node import RawNode
from ..storage.disk import LevelRefused, StorageError
from ..storage.logfile import LogFile, LogRewrite
from ..storage.snapshotlines import MachineState
from ..wire.limits import PAIR_BYTES
from .disk_room import least_of
from .writer import WriteQueue

COMPACT_BYTES = 8 << 20  # a log shorter than this is never compacted
GROWTH = 2  # nor one that is less than this many times as long as the last snapshot
RETRY_S = 1.0  # between two looks whether the disk has room for a snapshot
NEVER = 1 << 62  # bytes of a log, at which a snapshot is due
SPREAD = 1.25  # times as long at most, by chance
COPY_ENTRIES = 500  # at a time, under the core's lock
CHECK_BYTES = 1 << 19  # read in one go
OPEN_MAX = 4  # snapshots that are being sent, earlier ones among them
IDLE_S = 10.0  # a file is closed if no piece is asked for in this time

_Result = TypeVar("_Result")


class When(Enum):
    """The moment at which a job can go on."""

    WOKEN = "it was woken, or its time is over"
    NOTHING_APART = "no entry is applied without `core`, until the act is done"
    BETWEEN_WRITES = "nothing is being written, until the act is done"


class Turn(NamedTuple):
    """A wait of a job. It gets what `act` returns, or whether it was woken. An act between
    writes that returns False is done again after the next write; the job gets False if there is
    none any more."""

    when: When
    act: Callable[[], bool] = bool
    limit_s: float = -1  # until it goes on though nobody wakes it; -1: never


Turns = Generator[Turn | None, bool, _Result]


class SnapshotRim(Protocol):
    """The node around the two jobs."""

    @property
    def core(self) -> AbstractContextManager[object]: ...  # held for a look at the core
    def step(self, taken: Input) -> None: ...
    def post(self, message: InstallSnapshot) -> None: ...  # whose data is there
    def say(self, line: str) -> None: ...
    def breathe(self) -> None: ...  # a pause amid work that can't be left for a turn
    def spread(self) -> float: ...  # a number from 1 to SPREAD, by chance
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
        self._arrived: deque[Snapshot] = deque(maxlen=1)  # to be checked; a later one is enough
        self._rotten: Snapshot | None = None  # in force, and not fit to be sent
        self._is_asked = False
        self._files_are_lost = False
        self._wanted: deque[InstallSnapshot] = deque()
        self._open: dict[Snapshot, BinaryIO] = {}
        # What it has left, and in all; as if it had no end.
        self.disk: Callable[[], tuple[int, int]] = lambda: (1 << 62, 0)
        self._is_short = False  # of room for a snapshot

    # --- from any thread -------------------------------------------------------------------

    def wrote(self, arrived: Snapshot | None) -> None:
        """Record that the log has grown, or that all of a snapshot has arrived; never waits."""
        if arrived is not None:
            self._arrived.append(arrived)
        if arrived is not None or self._logmanager.log_bytes > self._due_bytes:
            self._rim.wake_taker()

    def ask(self, *, compacts: bool = False) -> None:
        """Have the state written soon, though the log is short, which stays as it is unless this
        `compacts`."""
        if compacts:
            self._due_bytes = -1
        else:
            self._is_asked = True
        self._rim.wake_taker()

    def write_again(self) -> None:
        """Have a snapshot taken, and the log written after it, since files are lost."""
        self._files_are_lost = True
        self._rim.wake_taker()

    def send(self, message: InstallSnapshot) -> None:
        """Send a piece of a snapshot once it was read from its file; never waits."""
        self._wanted.append(message)
        self._rim.wake_sender()

    # --- taking and checking ---------------------------------------------------------------

    def take_and_check(self) -> Turns[None]:
        """Take and check what there is to, again and again: one of the two jobs."""
        while True:
            try:
                if self._arrived:
                    yield from self._check(self._arrived.pop())
                elif self._files_are_lost:
                    self._files_are_lost = False
                    yield from self._take(is_needed=self._logmanager.applied.index > 0)
                elif self._rotten or self._logmanager.log_bytes > self._due_bytes:
                    yield from self._take(is_needed=self._rotten is not None)
                elif self._is_asked:
                    self._is_asked = False
                    yield from self._take(compacts=False)
                else:
                    yield Turn(When.WOKEN, limit_s=RETRY_S if self._is_short else -1)
                    if self._is_short and not self._lacks_room():
                        self._due_bytes = -1
            except LevelRefused:  # the leader of that snapshot is of a level beyond this build
                raise
            except StorageError as error:
                # What is in force is as it was; the node can go on without a new one.
                self._rim.say(f"[!] {self._name} could take no snapshot: {error}")
                self._due_bytes = self._logmanager.log_bytes + self._compact_bytes
                self._rotten = None  # found again when it is asked for again

    def _take(self, *, compacts: bool = True, is_needed: bool = False) -> Turns[None]:
        """Take a snapshot of the state as it is now, and let the log begin after it. Without
        anything new only one that `is_needed` is taken."""
        current = self._files.current
        has_news = self._logmanager.applied.index > (current.index if current is not None else 0)
        if not is_needed and (not has_news or self._lacks_room()):
            if compacts and not has_news:  # nothing new: look again when it grows
                self._due_bytes = self._logmanager.log_bytes
            return
        if not self._logmanager.members.voters:
            # It was born to join, and has not come to the first entry that names members.
            self._due_bytes = self._logmanager.log_bytes + self._compact_bytes
            return
        states: list[MachineState] = []

        def freeze() -> bool:
            states.append(self._logmanager.freeze())
            return True

        yield Turn(When.NOTHING_APART, freeze)  # what it holds has been reported to the core
        keys = len(states[0].pairs)
        try:
            snapshot = yield from self._files.writing(states.pop(), self._rim.breathe)
        except StorageError:
            self._files.discard()
            raise
        old = self._opened(current)
        published = yield from self._publish(snapshot)
        if old is not None:
            old.close()  # frees its bytes, which takes a while: not while others wait to write
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

    def _lacks_room(self) -> bool:
        """Whether a snapshot would leave the log too little of the disk; report it once, and look
        again soon."""
        store = self._logmanager.store
        left, whole = self.disk()
        size = store.pair_bytes - PAIR_BYTES * len(store)  # about that of the file
        was_short, self._is_short = self._is_short, left - size < least_of(whole)
        if self._is_short and not was_short:
            self._rim.say(
                f"[!] {self._name} takes no snapshot: the disk has {left:,} bytes left, and must "
                "have some for the log"
            )
        if self._is_short:
            self._due_bytes = NEVER
        return self._is_short

    def _opened(self, snapshot: Snapshot | None) -> BinaryIO | None:
        """Return the file of a snapshot that is about to be replaced; None if there is none, or if
        it can't be read, which a new one mends."""
        try:
            return self._files.open(snapshot) if snapshot is not None else None
        except (OSError, StorageError):
            return None

    def _publish(self, snapshot: Snapshot) -> Turns[bool]:
        """Put a snapshot of this node's own in force; False if a later one arrived.

        One that arrived and waits to be put in force is written first, or else it would displace
        this one, which holds more; so is the term of its last entry.
        """
        published: list[bool] = []

        def publish() -> bool:
            with self._rim.core:
                if self._writes.goes_first:
                    return False
            self._logmanager.check_places()
            published.append(self._files.publish(snapshot))
            return True

        done = yield Turn(When.BETWEEN_WRITES, publish)
        return done and published[0]

    def _compact(self, snapshot: Snapshot) -> Turns[None]:
        """Write the log again after the snapshot, then drop from memory what stands in it."""
        rewrite = self._logmanager.begin_rewrite(snapshot)
        is_done = False
        try:
            while entries := self._committed_entries(rewrite.next_index):
                rewrite.copy(entries)
                yield None
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
        """Return entries from `first` on that are committed and on this node's disk."""
        with self._rim.core:
            durable = self._node.view.durable_index - first + 1
            return self._node.committed(first, min(COPY_ENTRIES, durable))

    def _finish(self, rewrite: LogRewrite) -> Turns[bool]:
        """Let the log written again take the old one's place; False if the node stops first. This
        job installs snapshots, too, so none comes meanwhile.

        What is left is copied from the log in memory, which may be ahead of the disk, or have cut
        what the disk still has: then what waits is written first.
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

        done = yield Turn(When.BETWEEN_WRITES, finish)
        for old in finished:
            if old is not None:
                old.close()  # frees its bytes, which takes long; no write waits here
        return done

    def _drop(self, index: int) -> bool:
        """Drop some thousand entries from memory, `index` the last; return whether more remain.
        Pause before the next call: no other thread gets a lock that is taken again at once."""
        self._rim.step(Compact(index))
        with self._rim.core:
            return self._node.view.log.base_index < index

    def _next_due(self, left_bytes: int) -> int:
        """Return how long the log may become, if `left_bytes` of it follow on the snapshot.

        Chance keeps the nodes apart: a quorum that stops for a moment all at once is felt by
        every write, a single follower by none.
        """
        return left_bytes + int(self.growth_bytes * self._rim.spread())

    @property
    def growth_bytes(self) -> int:
        """By how many bytes the log grows from one snapshot to the next."""
        current = self._files.current
        size = current.size if current is not None else 0
        return max(self._compact_bytes, GROWTH * size)

    def _check(self, snapshot: Snapshot) -> Turns[None]:
        """Check a snapshot that has arrived, and hand it to the core or refuse it.

        Raises:
            LevelRefused: its leader is of a level that this build can't reach.
        """
        breathe = self._rim.breathe
        try:
            loaded = self._files.check(snapshot, breathe)
            self._logmanager.arrived(loaded, breathe)
        except LevelRefused:
            raise
        except (ValueError, StorageError) as error:
            self._rim.step(SnapshotRejected(snapshot, str(error)))
            return
        members, level, cluster = loaded.members, loaded.level, loaded.cluster
        del loaded

        def hand_over() -> bool:
            self._rim.step(SnapshotChecked(snapshot, members, level, cluster))
            return True

        yield None
        yield Turn(When.NOTHING_APART, hand_over)  # the state machine is replaced in this step
        yield from self._logmanager.free_left()
        self._due_bytes = self._next_due(0)

    # --- sending ---------------------------------------------------------------------------

    def send_pieces(self) -> Turns[None]:
        """Send the pieces that are asked for, again and again: the other job."""
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
        """Read one piece and send it; a snapshot that is gone is replaced by the one in force."""
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
        """Report it. What the disk does not give back is rotten, too; a file that can't be opened
        may lack a descriptor alone."""
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
            f"[!] {self._files.name} {why}. Nobody is sent that, {self._name} takes a new one"
        )
        self._rim.wake_taker()

    def _checked(self, snapshot: Snapshot) -> Turns[BinaryIO | None]:
        """Return the file of a snapshot to send, once all of it is checked; None if it is missing.
        A receiver would refuse a damaged one again and again."""
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
