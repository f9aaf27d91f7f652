"""The roles, and what a server knows in each: it is made with the role, and goes with it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from .change import Change, PendingChange
from .effects import Settled
from .log import Entry, Snapshot
from .progress import Progress

STARTS_MAX = 4096  # of the rounds that are remembered; older ones carry no lease any more


class Role(Enum):
    """The role of a server (paper §5.1); a pre-candidate asks before it stands (thesis §9.6)."""

    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


@dataclass(slots=True)
class ReadRound:
    """Reads that share one confirmation: served at `index` once `round` reached a quorum."""

    round: int
    index: int
    tokens: list[Any]


class PeerRead(NamedTuple):
    """The token of a read that a follower asks for; the answer names its term and round."""

    follower: str
    term: int
    round: int


@dataclass(slots=True)
class ForwardedReads:
    """A follower's reads that need its leader's read index."""

    round: int = 0
    again_at_ms: int = 0
    asked: list[Any] = field(default_factory=list)  # in `round`
    waiting: list[Any] = field(default_factory=list)  # for the next

    def give_back(self) -> list[Any]:
        """Forget the reads that no leader has answered, and return their tokens."""
        tokens = [*self.asked, *self.waiting]
        self.asked, self.waiting = [], []
        return tokens


@dataclass(slots=True)
class Incoming:
    """A snapshot that arrives at a follower: from whom, in which term, and how much is here."""

    snapshot: Snapshot
    sender: str
    term: int
    received: int = 0


@dataclass(slots=True)
class Candidacy:
    """One round of questions for PreVotes, or one election."""

    pre_vote: bool
    votes: dict[str, bool]  # by server: whether it gave its vote
    far_terms: dict[str, int] = field(default_factory=dict)  # by server: its term, out of bound


@dataclass(slots=True)
class PendingTransfer:
    """The leadership is being handed over (thesis §3.10); until when, then this leader goes on."""

    to: str
    until_ms: int
    has_sent: bool = False  # TimeoutNow has left


@dataclass(slots=True)
class Leading:
    """The volatile state of a leader (paper, Figure 2), made again for each leadership."""

    votes: dict[str, bool]  # that elected it
    progress: dict[str, Progress]
    quorum_check_at_ms: int
    heartbeat_at_ms: int
    term_durable_index: int  # once this entry is on disk, so is what nothing sent may overtake
    round: int = 0
    notice_at_ms: int = 0  # when followers get `notice_index`; 0: nothing is to be sent
    notice_index: int = 0
    reads_waiting: list[Any] = field(default_factory=list)
    read_rounds: deque[ReadRound] = field(default_factory=deque)
    batch: list[Entry] = field(default_factory=list)  # the last one sent, to spell it once
    transfer: PendingTransfer | None = None
    has_uncounted: bool = False  # a follower lost its memory (raft/recovering.py)
    disk_since_ms: int = 0  # since when an entry waits and the disk has not moved; 0: none waits
    disk_index: int = 0  # the last entry on the disk then
    gives_way: bool = False  # its disk hangs: it tries to hand over before it steps down
    keeps_starts: bool = False  # of rounds, which leases are counted from (raft/lease.py)
    round_starts: list[tuple[int, int]] = field(default_factory=list)  # round, time
    lease_is_over: bool = False  # a TimeoutNow has left in this term
    pending_change: PendingChange | None = None  # the change of members under way here
    waiting: list[tuple[Change, Any]] = field(default_factory=list)  # may not begin yet
    # Removed members that have not heard so: name to host:port.
    leaving: dict[str, str] = field(default_factory=dict)

    def begin_round(self, now_ms: int) -> None:
        """Number the questions to the followers that leave now; an answer names its round."""
        self.round += 1
        if self.keeps_starts:
            self.round_starts.append((self.round, now_ms))
            if len(self.round_starts) > STARTS_MAX:
                del self.round_starts[: STARTS_MAX // 2]

    def drop_reads(self) -> list[Any]:
        """Forget every read that waits here, and return their tokens; a follower's are not ours
        to return: it asks again."""
        tokens = list(self.reads_waiting)
        for waiting in self.read_rounds:
            tokens += waiting.tokens
        self.reads_waiting.clear()
        self.read_rounds.clear()
        return [token for token in tokens if not isinstance(token, PeerRead)]

    def drop_changes(self) -> list[Settled]:
        """Forget the changes of members that this leader was asked for, and return what to print of
        each; the log has the rest."""
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
