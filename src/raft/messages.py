"""The messages between servers: one dataclass each. `spelling` has their lines.

A message is never changed. The classes are not frozen, as frozen ones take longer to make.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .log import Entry, Snapshot

CHUNK_BYTES = 256 << 10  # of a snapshot's file in one message, at most


class PeerError(Exception):
    """A line from outside that a server can't have meant: answer it, change nothing, go on."""


@dataclass(slots=True)
class _Message:
    sender: str
    to: str
    term: int


@dataclass(slots=True)
class RequestVote(_Message):
    """Paper, Figure 2, RequestVote; with `pre_vote` the question of thesis §9.6, where `term`
    is the term that the sender would stand in; with `transfer` the leader itself asked the
    sender to stand (thesis §3.10). `newborn`: the sender's log was written by hand, and no leader
    was ever heard there, so its entries prove no history (raft/newborn.py)."""

    last_index: int
    last_term: int
    pre_vote: bool = False
    transfer: bool = False
    newborn: bool = False


@dataclass(slots=True)
class RequestVoteReply(_Message):
    """An answer to RequestVote. `term` is the voter's; in a granted PreVote the one asked for."""

    granted: bool
    pre_vote: bool = False
    reason: str = ""


# The words of a denial, by which a newborn knows that the cluster has a history (raft/newborn.py).
LOST_MEMORY = "I lost my memory and catch up without a vote"
MAY_BE_NEW = "I may be new or may have lost everything, so I catch up without a vote"
PROMISED = "I promised a leader to vote for nobody else yet"
HEARS_LEADER = "I hear from leader"  # how a denial begins that names a leader
NOT_UP_TO_DATE = "log not up to date"  # how one begins that reports entries,
BY_HAND = ", written by hand"  # and ends if no leader wrote these
OF_A_CLUSTER = ", mine holds a cluster's entries"  # how a denial to a hand-written log ends


def hears_leader(leader: str, term: int) -> str:
    """Return the reason of a denial that names a leader."""
    return f"{HEARS_LEADER} {leader} of term {term}"


@dataclass(slots=True)
class AppendEntries(_Message):
    """Paper, Figure 2, AppendEntries. `round` numbers the leader's sends within its term: the
    echo of it confirms leadership (thesis §6.4). `vote_again` names the incarnation whose loss
    it ends, `lost_index` an entry that the receiver acknowledged and lacks (raft/recovering.py);
    0: none."""

    prev_index: int
    prev_term: int
    entries: Sequence[Entry] = ()
    commit_index: int = 0
    round: int = 0
    vote_again: int = 0
    lost_index: int = 0


@dataclass(slots=True)
class _AppendEntriesReply(_Message):
    """`lease_ms`: the time after the request in which the sender votes for no other server
    (raft/lease.py)."""

    index: int
    round: int
    without_vote: int = 0  # the incarnation of a server that lost its memory; 0: it has a vote
    lease_ms: int = 0
    may_be_new: bool = False  # beside `without_vote`: it can't know whether it lost anything


class AppendAccepted(_AppendEntriesReply):
    """The sender's log equals the leader's up to `index`, and that much is on its disk."""

    __slots__ = ()


class AppendRejected(_AppendEntriesReply):
    """The sender's log differs before what was sent; it may agree up to `index` (paper §5.3)."""

    __slots__ = ()


@dataclass(slots=True)
class InstallSnapshot(_Message):
    """Paper, Figure 13, InstallSnapshot. The core leaves `data` empty, so a leader's memory never
    holds a snapshot: the sending thread reads the `length` bytes from the file.

    `data` is the bytes as text, those that are not UTF-8 as lone surrogates (surrogateescape).
    """

    snapshot: Snapshot
    offset: int
    length: int
    round: int
    data: str = ""

    @property
    def raw(self) -> bytes:
        """The bytes of the file that it carries."""
        return self.data.encode("utf-8", "surrogateescape")


@dataclass(slots=True)
class InstallSnapshotReply(_Message):
    """The sender holds the first `offset` bytes of the snapshot of that index and term."""

    index: int
    index_term: int
    offset: int
    round: int
    without_vote: int = 0
    may_be_new: bool = False


@dataclass(slots=True)
class TimeoutNow(_Message):
    """The leader asks a follower that holds all it holds to stand at once (thesis §3.10)."""


@dataclass(slots=True)
class ReadIndex(_Message):
    """A follower asks its leader from which index on it may serve its reads (thesis §6.4)."""

    round: int


@dataclass(slots=True)
class ReadIndexReply(_Message):
    """The leader's answer: it led after the question came, and had committed up to `index`."""

    index: int
    round: int


Message = (
    RequestVote
    | RequestVoteReply
    | AppendEntries
    | AppendAccepted
    | AppendRejected
    | InstallSnapshot
    | InstallSnapshotReply
    | TimeoutNow
    | ReadIndex
    | ReadIndexReply
)
Answer = (RequestVoteReply, AppendAccepted, AppendRejected, ReadIndexReply, InstallSnapshotReply)
