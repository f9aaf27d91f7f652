"""The messages between servers, one dataclass each. `wire/peer_lines.py` has their lines.

A message is never modified. The classes are not frozen, because frozen ones take longer to create.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from .log import Entry, Snapshot

CHUNK_BYTES = 256 << 10  # most bytes of a snapshot's file in one message


class PeerError(Exception):
    """A line from outside that no correct server sends: answer it, change nothing and continue."""


class SumKind(Enum):
    """The extent of a sum."""

    ENTRIES = "entries"
    STATE = "state"


class Sums(NamedTuple):
    """A server's last sums: the chain of its applied entries up to `index`, its state after entry
    `state_index` (0: none yet), the entry at which it was found to differ (0: it does not), and the
    snapshot by which its state came (0: the others have confirmed it)."""

    index: int  # type: ignore[assignment]  # tuple.index is not used
    chain: int
    state_index: int = 0
    state: int = 0
    differs: int = 0
    received: int = 0


class Difference(NamedTuple):
    """An entry at which a follower's sum is not the leader's, and the leader's sum there."""

    index: int  # type: ignore[assignment]  # tuple.index is not used
    kind: SumKind
    sum: int


@dataclass(slots=True)
class _Message:
    sender: str
    to: str
    term: int


@dataclass(slots=True)
class RequestVote(_Message):
    """RequestVote (paper, Figure 2). With `pre_vote`, it is the question of thesis §9.6, and `term`
    is the term in which the sender would stand. With `transfer`, the leader itself asked the sender
    to stand (thesis §3.10). `newborn` means that the sender's log was written by hand, and the
    sender has never heard from a leader, so its entries prove no history (raft/newborn.py).
    `never_ran` names silent members that an operator claims to be new."""

    last_index: int
    last_term: int
    pre_vote: bool = False
    transfer: bool = False
    newborn: bool = False
    never_ran: tuple[str, ...] = ()


class Denial(Enum):
    """Why a vote is denied: the word of the line. Servers compare words alone; the sentence after
    the word is for people, and no server reads it."""

    OLD_TERM = "old-term"  # the requested term is over (§5.1)
    LOST_MEMORY = "lost-memory"  # the voter has no vote (raft/recovering.py)
    MAY_BE_NEW = "may-be-new"  # nor has a voter that can't tell whether it lost anything
    HOLDS_ENTRIES = "holds-entries"  # the same, and it has entries of a cluster by now
    HEARS = "hears"  # the voter hears the leader that the line names (thesis §4.2.3)
    PROMISED = "promised"  # the voter promised a leader to vote for no other (thesis §6.4.1)
    BY_HAND = "by-hand"  # the candidate's log was written by hand, the voter's by a leader
    BEHIND = "behind"  # the candidate's log is behind the voter's (§5.4.1)
    BEHIND_BY_HAND = "behind-by-hand"  # the same, and the voter's was written by hand
    VOTED = "voted"  # the vote of this term is given (§5.2)
    MAY_HAVE_VOTED = "may-have-voted"  # a newborn may have given it (raft/newborn.py)
    LOOKS = "looks"  # the voter looks for members that have entries (raft/newborn.py)
    OTHER = "other"  # any word of another implementation

    @classmethod
    def _missing_(cls, value: object) -> Denial:
        return cls.OTHER


@dataclass(slots=True)
class RequestVoteReply(_Message):
    """An answer to RequestVote. `term` is the voter's term, or the requested one in a granted
    PreVote. A denial has a word, with HEARS the leader's name, and a reason for people."""

    granted: bool
    pre_vote: bool = False
    word: Denial | None = None
    reason: str = ""
    leader: str = ""

    def __post_init__(self) -> None:
        self.word = None if self.granted else self.word or Denial.OTHER


@dataclass(slots=True)
class AppendEntries(_Message):
    """AppendEntries (paper, Figure 2). `round` numbers the leader's sends within its term, and its
    echo confirms leadership (thesis §6.4). `vote_again` names an incarnation that may vote again,
    `lost_index` an entry that the receiver acknowledged but lacks (raft/recovering.py); 0: none.
    `differs` tells the receiver that its state is not the leader's, `agreed_index` up to where all
    voters have had equal sums (raft/agreement.py)."""

    prev_index: int
    prev_term: int
    entries: Sequence[Entry] = ()
    commit_index: int = 0
    round: int = 0
    vote_again: int = 0
    lost_index: int = 0
    differs: Difference | None = None
    agreed_index: int = 0


@dataclass(slots=True)
class _AppendEntriesReply(_Message):
    """An answer to AppendEntries. `lease_ms` is how long after the request the sender votes for no
    other server (raft/leader_lease.py)."""

    index: int
    round: int
    without_vote: int = 0  # the incarnation of a server that lost its memory; 0: it has a vote
    lease_ms: int = 0
    may_be_new: bool = False  # with `without_vote`: it can't know whether it lost anything


@dataclass(slots=True)
class AppendAccepted(_AppendEntriesReply):
    """The sender's log equals the leader's up to `index`, and is on disk up to there. Answers to
    heartbeats report its sums (raft/agreement.py)."""

    sums: Sums | None = None


class AppendRejected(_AppendEntriesReply):
    """The sender's log differs before the entries in the request; it may agree up to `index` (paper
    §5.3)."""

    __slots__ = ()


@dataclass(slots=True)
class InstallSnapshot(_Message):
    """InstallSnapshot (paper, Figure 13). The core leaves `data` empty, so a leader never holds a
    snapshot in memory: the sending thread reads the `length` bytes from the file.

    `data` is the bytes as text, with lone surrogates for bytes that are not UTF-8
    (surrogateescape).
    """

    snapshot: Snapshot
    offset: int
    length: int
    round: int
    data: str = ""

    @property
    def raw(self) -> bytes:
        """The carried bytes of the file."""
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
    """The leader asks a follower with an equal log to stand at once (thesis §3.10)."""


@dataclass(slots=True)
class ReadIndex(_Message):
    """A follower asks its leader from which index on it may serve reads (thesis §6.4)."""

    round: int


@dataclass(slots=True)
class ReadIndexReply(_Message):
    """The leader's answer: it still led after the question arrived, and had committed up to
    `index`."""

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
