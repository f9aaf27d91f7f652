"""NAME.storage: a node's promises, in two lines of text, each with a CRC-32.

    name s1 term 5 vote s2 state whole crc32 8d6dbe85
    synced entry 0000000000000000017 term 0000000000000000005 crc32 8e73d15b

Line 1 holds the term, the vote (`-`: no vote; a name begins with a letter) and the state of the
log: `whole`; `newborn`, for a node that has not voted yet, or whose entries were all written by
hand; `amnesiac`, if a promise is lost and the node has no vote until it has caught up; `unknown`,
for a newborn that met a cluster with a history, and has no vote until it has caught up, since
nothing shows whether it lost anything; `quarantined differs 2048`, if the node's state differs from
the others' since that entry (raft/agreement.py), and `diverged`, once a start may leave the log and
the snapshot out for that reason; `adopting`, while a hand-written log is rewritten. A node whose
state came by a snapshot that not all others have confirmed adds `snapshot 2048`. A node
that may have promised its votes to a leader for a time (raft/leader_lease.py) keeps that time
there, in milliseconds: `state whole lease 500`. The line is replaced atomically.

The identity of the cluster comes last, once its entry is known to be committed: `state whole
cluster 9f86d081884c7d65 level 1`, where `level 1` is the format. Each start reads this file first,
so a build that does not know that format touches no other file.

Line 2 is the mark: the last entry known to be synced. It has a fixed width and is overwritten in
place, without its own sync, after each sync of the log. So after a power cut the mark may be older
than the log, but never newer: the entry that it names was on the disk. Both lines together are
shorter than one 512-byte sector, so the mark is never half old and half new. The CRC-32 covers the
bytes of its line before ` crc32`.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple
from zlib import crc32

from ..common.text import NUMBER, NUMBER_MAX
from ..raft.identity import CLUSTER, FORMAT
from .disk import EARLIER, OF_AN_EARLIER_BUILD, BuildRefused, DamagedStorage, FilesRefused
from .folder import Folder, opened
from .lost_files import FileState, Identity, compare

_FILE_BYTES_MAX = 512
_PROMISE = re.compile(
    rb"name (\S+) term (0|%b) vote (\S+)"
    rb" state (whole|newborn|amnesiac|unknown|quarantined|diverged|adopting)"
    rb"(?: differs (%b))?(?: snapshot (%b))?(?: lease (%b))?(?: cluster (%b) %b)?"
    % (*[NUMBER.encode()] * 4, CLUSTER.encode(), FORMAT.encode())
)
_MARK = re.compile(rb"synced entry ([0-9]{19}) term ([0-9]{19})")


class Mark(NamedTuple):
    """An entry of the log, named by index and term. (0, 0) is the place before the first entry."""

    index: int  # type: ignore[assignment]  # the usual word; tuple.index is not used
    term: int


class LogState(Enum):
    """Whether the log holds everything that this node has acknowledged."""

    WHOLE = "whole"
    NEWBORN = "newborn"
    RECOVERING = "amnesiac"
    UNKNOWN = "unknown"
    QUARANTINED = "quarantined"
    DIVERGED = "diverged"
    ADOPTING = "adopting"


# A node in these states gets its entries again from the others, so no entry is missing.
STARTS_OVER = (LogState.RECOVERING, LogState.DIVERGED)
DIFFERS = (LogState.QUARANTINED, LogState.DIVERGED)


class Promise(NamedTuple):
    """The content of NAME.storage."""

    term: int
    vote: str | None
    state: LogState
    mark: Mark
    lease_ms: int = 0
    cluster: str = ""  # the identity of the cluster, if it is known
    differs: int = 0  # the entry at which its state differs, in quarantine
    received: int = 0  # the snapshot by which its state came, until the others confirmed it

    def without_vote(self) -> Promise:
        """Return the promise of a node that lost something. A quarantine continues."""
        is_held = self.state is LogState.QUARANTINED
        return self if is_held else self._replace(state=LogState.RECOVERING)


class HardStateFile:
    """The file NAME.storage. `promise` is its content."""

    def __init__(self, folder: Folder, name: str) -> None:
        self._folder = folder
        self._node = name
        self._mark_offset = 0
        self.name = f"{name}.storage"
        self.promise = Promise(0, None, LogState.WHOLE, Mark(0, 0))
        self._identity: Identity = (0, 0)

    def load(self) -> Promise | None:
        """Read the file, keep its content and return it, or None if it does not exist.

        Raises:
            DamagedStorage: it fails its checks.
            FilesRefused: it is unreadable, another node's, or of a newer version.
        """
        if not self._folder.exists(self.name):
            return None
        with opened(self._folder, self.name) as file:
            data = file.read(_FILE_BYTES_MAX + 1)
        lines = data.split(b"\n")
        if len(lines) != 3 or lines[2] or len(data) > _FILE_BYTES_MAX:
            raise self._damaged("it does not consist of two lines")
        promise = self._match(_PROMISE, lines[0], 1)
        mark = self._match(_MARK, lines[1], 2)
        node, vote = promise[1].decode("utf-8", "replace"), promise[3].decode("utf-8", "replace")
        if node != self._node:
            raise FilesRefused(
                f"{self.name} belongs to node {node!a}, not to {self._node}: a file of "
                "another node was put here; put this node's own file back"
            )
        self.promise = Promise(
            self._number(promise[2], 1),
            None if vote == "-" else vote,
            LogState(promise[4].decode("ascii")),
            Mark(self._number(mark[1], 2), self._number(mark[2], 2)),
            self._number(promise[7] or b"0", 1),
            (promise[8] or b"").decode(),
            self._number(promise[5] or b"0", 1),
            self._number(promise[6] or b"0", 1),
        )
        self._mark_offset = len(lines[0]) + 1
        return self.promise

    def hold(self) -> None:
        """Keep the file open for its marks, which then do not depend on its name."""
        self._folder.hold(self.name)
        file = self._folder.find(self.name)
        if file is not None:
            self._identity = file.identity

    def save(self, promise: Promise) -> None:
        """Write a new promise, durably and atomically."""
        first = self._first_line(promise)
        self._folder.replace(self.name, [first + _mark_line(promise.mark)])
        self._mark_offset = len(first)
        self.promise = promise
        self.hold()

    def state_of_file(self) -> FileState:
        """Compare the file of this name with the written bytes. The file is short, so all of it is
        read: a mark that is written into a truncated file restores its length."""
        current = self._folder.find(self.name)
        expected = self._first_line(self.promise) + _mark_line(self.promise.mark)
        state = compare(current, self._identity, len(expected))
        if state is FileState.WHOLE:
            with self._folder.read(self.name) as file:
                if file.read(_FILE_BYTES_MAX + 1) != expected:
                    return FileState.CUT
        return state

    def _first_line(self, promise: Promise) -> bytes:
        text = (
            f"name {self._node} term {promise.term} vote {promise.vote or '-'}"
            f" state {promise.state.value}"
            f"{f' differs {promise.differs}' if promise.differs else ''}"
            f"{f' snapshot {promise.received}' if promise.received else ''}"
            f"{f' lease {promise.lease_ms}' if promise.lease_ms else ''}"
        )
        if promise.cluster:
            text += f" cluster {promise.cluster} {FORMAT}"
        return _with_crc(text.encode())

    def move_mark(self, mark: Mark) -> None:
        """Record in place that the log is synced up to `mark`. This write is not synced."""
        self._folder.overwrite(self.name, self._mark_offset, _mark_line(mark))
        self.promise = self.promise._replace(mark=mark)

    def _match(self, shape: re.Pattern[bytes], line: bytes, number: int) -> re.Match[bytes]:
        body, _, crc = line.rpartition(b" crc32 ")
        if crc != b"%08x" % crc32(body):
            raise self._damaged(f"line {number} does not match its CRC-32")
        match = shape.fullmatch(body)
        if match is None and shape is _PROMISE and EARLIER.search(body):
            raise BuildRefused(f"{self.name}: {OF_AN_EARLIER_BUILD}")
        if match is None:
            raise FilesRefused(
                f"{self.name} is not understood: line {number}; was it written by a newer version? "
                "Start the node with that version"
            )
        return match

    def _number(self, digits: bytes, line: int) -> int:
        number = int(digits)
        if number > NUMBER_MAX:
            raise self._damaged(f"line {line} has a number beyond {NUMBER_MAX}")
        return number

    def _damaged(self, what: str) -> DamagedStorage:
        return DamagedStorage(f"{self.name} is damaged, since {what}")


def _with_crc(body: bytes) -> bytes:
    return b"%b crc32 %08x\n" % (body, crc32(body))


def _mark_line(mark: Mark) -> bytes:
    return _with_crc(b"synced entry %019d term %019d" % mark)
