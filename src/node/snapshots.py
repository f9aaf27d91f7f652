"""Taking, sending and checking snapshots beside other work: docs/develop/how-a-write-travels.md.

Two threads, neither of which holds a lock while it reads, writes or computes for long. Python runs
one thread at a time, so they also pause after each small piece, in proportion to what it cost.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import BinaryIO
from zlib import crc32

from raftline.common.wakeup import Breather, Wakeup, give_way
from raftline.logmanager import LogManager
from raftline.node.driver import Driver
from raftline.raft.entries import Snapshot
from raftline.raft.inputs import SnapshotChecked, SnapshotGone, SnapshotRejected, SnapshotTaken
from raftline.raft.messages import InstallSnapshot
from raftline.storage.disk import LevelRefused, StorageError

COMPACT_BYTES = 8 << 20  # a log shorter than this is never compacted
GROWTH = 2  # nor one that is less than this many times as long as the last snapshot
SPREAD = 1.25  # times as long at most, by chance
COPY_ENTRIES = 500  # at a time, under the core's lock
CHECK_BYTES = 1 << 19  # read in one go
OPEN_MAX = 4  # snapshots that are being sent, earlier ones among them
IDLE_S = 10.0  # a file is closed if no piece is asked for in this time


class _StoppingError(Exception):
    """The node stops; what was under way is left, and removed at the next start."""


class Snapshots:
    """The threads `NAME snapshots`, which takes and checks, and `NAME chunks`, which sends."""

    def __init__(
        self,
        driver: Driver,
        logmanager: LogManager,
        post: Callable[[InstallSnapshot], None],
        say: Callable[[str], None],
        compact_bytes: int,
    ) -> None:
        """Prepare; `post` sends a message whose data is there to its peer."""
        self._driver = driver
        self._logmanager = logmanager
        self._name = logmanager.name
        self._files = logmanager.snapshots
        self._post = post
        self._say = say
        self._compact_bytes = compact_bytes
        self._due_bytes = self._next_due(0)
        self._arrived: deque[Snapshot] = deque(maxlen=1)  # to be checked; a later one is enough
        self._rotten: Snapshot | None = None  # in force, and not fit to be sent
        self._is_asked = False
        self._wanted: deque[InstallSnapshot] = deque()
        self._open: dict[Snapshot, BinaryIO] = {}
        self._wake_taker = Wakeup()  # set when there may be something to do
        self._wake_sender = Wakeup()
        self._stopping = False
        self._breather = Breather()
        self._threads = [
            threading.Thread(target=run, name=f"{self._name} {what}", daemon=True)
            for run, what in ((self._take_and_check, "snapshots"), (self._send_pieces, "chunks"))
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Leave what is under way, and wait until the threads have let go of the files."""
        self._stopping = True
        self._wake_taker.set()
        self._wake_sender.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=5.0)

    def wrote(self, arrived: Snapshot | None) -> None:
        """Record that the log has grown, or that all of a snapshot has arrived; never waits."""
        if arrived is not None:
            self._arrived.append(arrived)
        if arrived is not None or self._logmanager.log_bytes > self._due_bytes:
            self._wake_taker.set()

    def ask(self) -> None:
        """Have the state written soon, though the log is short, and leave the log as it is."""
        self._is_asked = True
        self._wake_taker.set()

    def send(self, message: InstallSnapshot) -> None:
        """Send a piece of a snapshot once it was read from its file; never waits."""
        self._wanted.append(message)
        self._wake_sender.set()

    # --- taking and checking ---------------------------------------------------------------

    def _take_and_check(self) -> None:
        with contextlib.suppress(_StoppingError):
            while not self._stopping:
                try:
                    if self._arrived:
                        self._check()
                    elif self._rotten or self._logmanager.log_bytes > self._due_bytes:
                        self._take()
                    elif self._is_asked:
                        self._is_asked = False
                        self._take(compacts=False)
                    else:
                        self._wake_taker.wait(60.0)
                except StorageError as error:
                    # What is in force is as it was; the node can go on without a new one.
                    self._say(f"[!] {self._name} could take no snapshot: {error}")
                    self._due_bytes = self._logmanager.log_bytes + self._compact_bytes
                    self._rotten = None  # found again when it is asked for again
                except _StoppingError:
                    raise
                except Exception as error:
                    self._driver.fail(error)
                    return

    def _take(self, *, compacts: bool = True) -> None:
        """Take a snapshot of the state as it is now, and let the log begin after it."""
        self._breather.begin()
        current = self._files.current
        has_news = self._logmanager.applied.index > (current.index if current is not None else 0)
        if not has_news and not self._rotten:
            if compacts:  # nothing new: look again when it grows
                self._due_bytes = self._logmanager.log_bytes
            return
        if not self._logmanager.members.voters:
            # It was born to join, and has not come to the first entry that names members.
            self._due_bytes = self._logmanager.log_bytes + self._compact_bytes
            return
        with self._driver.apart:  # what it holds has been reported to the core
            state = self._logmanager.freeze()
        keys = len(state.pairs)
        try:
            snapshot = self._files.write(state, self._breathe)
        except StorageError:
            self._files.discard()
            raise
        old = self._files.open(current) if current is not None else None
        published = self._driver.compaction.publish(snapshot)
        if old is not None:
            old.close()  # frees its bytes, which takes a while: not while others wait to write
        if not published:
            return
        self._rotten = None
        self._driver.step(SnapshotTaken(snapshot))
        self._say(
            f"[*] {self._name} took a snapshot: the state after entry {snapshot.index}, "
            f"{keys:,} key{'s' * (keys != 1)}, {snapshot.size:,} bytes"
        )
        if compacts:
            self._compact(snapshot)
            self._due_bytes = self._next_due(self._logmanager.log_bytes)

    def _compact(self, snapshot: Snapshot) -> None:
        """Write the log again after the snapshot, then drop from memory what stands in it."""
        compaction = self._driver.compaction
        rewrite = self._logmanager.begin_rewrite(snapshot)
        try:
            while entries := compaction.committed_entries(rewrite.next_index, COPY_ENTRIES):
                rewrite.copy(entries)
                self._breathe()
            rewrite.sync()
            if not compaction.finish_rewrite(rewrite):
                rewrite.abandon()
                return
        except (StorageError, _StoppingError):
            rewrite.abandon()
            raise
        index = compaction.compaction_index()
        while compaction.compact(index):
            self._breathe()
        self._say(
            f"[*] {self._name}.log begins behind entry {snapshot.index} now, "
            f"{self._logmanager.log_bytes:,} bytes"
        )

    def _next_due(self, left_bytes: int) -> int:
        """Return how long the log may become, if `left_bytes` of it follow on the snapshot.

        Chance keeps the nodes apart: a quorum that stops for a moment all at once is felt by
        every write, a single follower by none.
        """
        current = self._files.current
        size = current.size if current is not None else 0
        growth = max(self._compact_bytes, GROWTH * size)
        return left_bytes + int(growth * random.uniform(1.0, SPREAD))

    def _check(self) -> None:
        """Check a snapshot that has arrived, and hand it to the core or refuse it."""
        snapshot = self._arrived.pop()
        self._breather.begin()
        try:
            loaded = self._files.check(snapshot, self._breathe)
            self._logmanager.arrived(loaded, self._breathe)
        except LevelRefused as error:  # its leader is of a level that this build can't reach
            self._driver.fail(error)
            return
        except (ValueError, StorageError) as error:
            why = str(error)
            self._driver.step(SnapshotRejected(snapshot, why))
            return
        members, level = loaded.members, loaded.level
        del loaded
        with self._driver.apart:  # the state machine is replaced in this step
            self._driver.step(SnapshotChecked(snapshot, members, level))
        self._logmanager.free_left(self._breathe)
        self._due_bytes = self._next_due(0)

    def _breathe(self) -> None:
        """Let the other threads run: they serve clients, this one does not."""
        if self._stopping:
            raise _StoppingError
        self._breather.breathe()

    # --- sending ---------------------------------------------------------------------------

    def _send_pieces(self) -> None:
        while not self._stopping:
            if not self._wanted:
                if not self._wake_sender.wait(IDLE_S):
                    self._close_all()
                continue
            message = self._wanted.popleft()
            try:
                self._send_piece(message)
            except _StoppingError:
                break
            except (OSError, StorageError) as error:
                self._say(f"[!] {self._name} can't read its snapshot for {message.to}: {error}")
            except Exception as error:
                self._driver.fail(error)
                return
        self._close_all()

    def _send_piece(self, message: InstallSnapshot) -> None:
        """Read one piece and send it; a snapshot that is gone is replaced by the one in force."""
        snapshot = message.snapshot
        if snapshot == self._rotten:
            return  # the new one will be sent instead
        file = self._open.get(snapshot)
        if file is None or message.offset == 0 < message.length:
            file = self._checked(snapshot)
        if file is not None:
            file.seek(message.offset)
            data = file.read(message.length).decode("utf-8", "surrogateescape")
            self._post(replace(message, data=data))
        elif self._files.current != snapshot:
            self._driver.step(SnapshotGone(message.to, snapshot))
        else:
            self._rotten = snapshot
            self._say(
                f"[!] {self._files.name} has rotted on the disk, as its CRC-32 shows: nobody is "
                f"sent that, {self._name} takes a new one"
            )
            self._wake_taker.set()

    def _checked(self, snapshot: Snapshot) -> BinaryIO | None:
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
            if self._stopping:
                raise _StoppingError
            size, crc = size + len(data), crc32(data, crc)
            give_way()
        if (size, crc) == snapshot[2:]:
            return file
        self._open.pop(snapshot).close()
        return None

    def _close_all(self) -> None:
        while self._open:
            self._open.popitem()[1].close()
