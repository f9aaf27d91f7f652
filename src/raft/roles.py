"""The roles, and the state of a server in each role, which begins and ends with the role."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from .change import Change, PendingChange
from .effects import Settled
from .log import Entry, Snapshot
from .progress import Progress

STARTS_MAX = 4096  # most remembered rounds; older ones no longer count for leases


class Role(Enum):
    """The role of a server (paper §5.1); a pre-candidate asks for PreVotes before it stands (thesis
    §9.6)."""

    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


@dataclass(slots=True)
class ReadRound:
    """Reads that share one confirmation, served at `index` once a quorum answered `round`."""

    round: int
    index: int
    tokens: list[Any]


class PeerRead(NamedTuple):
    """The token of a read for a follower; the answer carries its term and round."""

    follower: str
    term: int
    round: int


@dataclass(slots=True)
class ForwardedReads:
    """A follower's reads that wait for the leader's read index."""

    since_ms: int = 0  # when this leadership began
    round: int = 0
    again_at_ms: int = 0
    asked: list[Any] = field(default_factory=list)  # in `round`
    waiting: list[Any] = field(default_factory=list)  # for the next

    def give_back(self) -> list[Any]:
        """Forget the unanswered reads, and return their tokens."""
        tokens = [*self.asked, *self.waiting]
        self.asked, self.waiting = [], []
        return tokens


@dataclass(slots=True)
class Incoming:
    """A snapshot that a follower is receiving: its sender, its term and the received bytes."""

    snapshot: Snapshot
    sender: str
    term: int
    received: int = 0


@dataclass(slots=True)
class Candidacy:
    """One round of PreVote requests, or one election."""

    pre_vote: bool
    votes: dict[str, bool]  # by server: whether it granted its vote


@dataclass(slots=True)
class PendingTransfer:
    """A leadership transfer in progress (thesis §3.10). At `until_ms` this leader resumes."""

    to: str
    until_ms: int
    has_sent: bool = False  # TimeoutNow has been sent


@dataclass(slots=True)
class Leading:
    """The volatile state of a leader (paper, Figure 2), new for each leadership."""

    votes: dict[str, bool]  # the answers in its election
    progress: dict[str, Progress]
    quorum_check_at_ms: int
    heartbeat_at_ms: int
    term_durable_index: int  # once this entry is on disk, messages may be sent early
    since_ms: int = 0  # when this leadership began
    round: int = 0
    notice_at_ms: int = 0  # when followers get `notice_index`; 0: no notice is due
    notice_index: int = 0
    reads_waiting: list[Any] = field(default_factory=list)
    read_rounds: deque[ReadRound] = field(default_factory=deque)
    batch: list[Entry] = field(default_factory=list)  # the last one sent, to serialize it only once
    transfer: PendingTransfer | None = None
    has_uncounted: bool = False  # a follower lost its memory (raft/recovering.py)
    awaits_verdict: bool = False  # a follower differs (raft/agreement.py)
    undecided: str = ""  # the followers that differ, as printed
    confirmed_index: int = 0  # all voters have had equal sums up to here
    disk_since_ms: int = 0  # since when an entry waits for an idle disk; 0: none waits
    disk_index: int = 0  # the last entry on the disk then
    outrun_since_ms: int = 0  # since when the others have committed more than this disk has; 0: no
    gives_way: bool = False  # its disk hangs: it tries a transfer before it steps down
    applier_gives_way: bool = False  # it applies nothing, and tried a transfer
    keeps_starts: bool = False  # record when rounds start, for leases (raft/leader_lease.py)
    round_starts: list[tuple[int, int]] = field(default_factory=list)  # round, time
    lease_is_over: bool = False  # a TimeoutNow has been sent in this term
    pending_change: PendingChange | None = None  # the membership change in progress
    waiting: list[tuple[Change, Any]] = field(default_factory=list)  # for their turn
    # Removed members that have not been told yet: name to host:port.
    leaving: dict[str, str] = field(default_factory=dict)

    def begin_round(self, now_ms: int) -> None:
        """Begin a new round of messages to the followers; an answer carries its round."""
        self.round += 1
        if self.keeps_starts:
            self.round_starts.append((self.round, now_ms))
            if len(self.round_starts) > STARTS_MAX:
                del self.round_starts[: STARTS_MAX // 2]

    def drop_reads(self) -> list[Any]:
        """Forget all waiting reads, and return the tokens of this server's own reads; a follower
        repeats its question."""
        tokens = list(self.reads_waiting)
        for waiting in self.read_rounds:
            tokens += waiting.tokens
        self.reads_waiting.clear()
        self.read_rounds.clear()
        return [token for token in tokens if not isinstance(token, PeerRead)]

    def drop_changes(self) -> list[Settled]:
        """Forget the requested membership changes, and return the outcome of each request."""
        settled = [
            Settled(
                token,
                "refused",
                f"{change}: this server lost the leadership before it began. Nothing was changed",
            )
            for change, token in self.waiting
        ]
        self.waiting.clear()
        pending, self.pending_change = self.pending_change, None
        if pending is not None:
            text = f"{pending.change} was under way when this server lost the leadership"
            settled.append(Settled(pending.token, "unknown", f"{text}; see: members"))
        return settled
