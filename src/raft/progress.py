"""A leader's view of one follower: what it holds, what to send it next, what is on the way."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum

from .log import Snapshot


class Mode(Enum):
    """How a leader sends to a follower."""

    PROBE = "probe"  # one message at a time, until it is known where the logs agree
    REPLICATE = "replicate"  # ahead of the answers, up to a window
    SNAPSHOT = "snapshot"  # the entries it lacks are gone from the log: chunks of a snapshot


@dataclass(slots=True)
class Sending:
    """A snapshot on its way to one follower: what arrived, and what is to be sent next."""

    snapshot: Snapshot
    held: int = 0  # bytes that the follower reports it holds
    next_offset: int = 0
    moved_at_ms: int = 0  # when the follower last answered about it, or it was sent again


@dataclass(slots=True)
class Progress:
    """Paper, Figure 2, nextIndex and matchIndex; with modes and a window (thesis §10.2.1).

    `match_index < next_index` always. `acked_round` is the latest send that was answered in
    this term, whether it appended or not: proof that the follower still followed then.
    """

    next_index: int
    heard_at_ms: int
    match_index: int = 0
    mode: Mode = Mode.PROBE
    probe_sent: bool = False
    in_flight: deque[int] = field(default_factory=deque)  # last index of each unanswered message
    commit_sent: int = 0  # the commit index of the last message
    acked_round: int = 0
    sending: Sending | None = None  # in snapshot mode
    rewound_round: int = 0  # complaints about sends up to this round are old news
    doubt_round: int = 0  # all sends from this round on follow right on `match_index`
    away: bool = False  # its connection broke, and nothing was heard since
    lease_until_ms: int = 0  # until then it votes for no other server, by this leader's clock
    # Amnesia: a follower that lost its memory does not count until it was made whole again.
    is_counted: bool = True
    lost_index: int = 0  # that it acknowledged and lacks; until it heard so and answered
    incarnation: int = 0  # the one that reported so
    may_be_new: bool = False  # it can't know whether it lost anything
    readmit_round: int = 0  # answers to sends before this round are an earlier incarnation's
    readmit_index: int | None = None  # the entry that must be committed, and held, before it votes
    vote_again_round: int = 0  # the first send that let it vote again
    # Membership: a server that was taken out hears of it, and is then forgotten.
    leave_index: int = 0  # the entry that took it out
    leave_round: int = 0  # the first send that reported it is out
    leave_by_ms: int = 0  # or when it is given up

    @property
    def loss(self) -> str:
        """The loss of a follower that does not count, or the doubt about one."""
        return "is new, or lost its memory" if self.may_be_new else "lost its memory"

    def vote_again(self, round_now: int) -> int:
        """Return the incarnation that a send of this round allows to vote again, else 0
        (raft/recovering.py)."""
        is_due = not self.is_counted and 0 < self.vote_again_round <= round_now
        return self.incarnation if is_due else 0

    def matched(self, index: int) -> None:
        """The follower holds the leader's log up to `index`; send ahead from now on."""
        self.doubt_round = 0
        self.match_index = max(self.match_index, index)
        self.next_index = max(self.next_index, self.match_index + 1)
        if self.sending is not None and index < self.sending.snapshot.index:
            return  # an answer from before the snapshot was begun
        self.mode = Mode.REPLICATE
        self.sending = None
        self.probe_sent = False
        while self.in_flight and self.in_flight[0] <= self.match_index:
            self.in_flight.popleft()

    def rewind(self, agree_index: int, round_now: int) -> None:
        """Begin to probe again right after `agree_index`, but never before what has matched."""
        self.next_index = max(self.match_index, agree_index) + 1
        self.rewound_round = round_now
        self._probe()
        if self.next_index == self.match_index + 1:
            self.doubt_round = round_now + 1

    def lacks_acknowledged(self, complaint_round: int, held_index: int, base_index: int) -> bool:
        """Whether a complaint proves that the follower lost entries which it had acknowledged.

        A follower that holds them accepts whatever follows right on `match_index` (§5.3, Log
        Matching). So it lost them if it refuses a send from after the leader went back to there.
        The end that it names proves the same once the leader's log begins after `match_index`:
        then nothing can be sent from there. (A follower that holds them may name an earlier index
        if its log differs later on, in a run of one term that began before. It is taken for one
        that lost them, which costs it its vote until it has the leader's snapshot.)
        """
        if not self.match_index:
            return False
        if self.match_index < base_index:
            return held_index < self.match_index
        return 0 < self.doubt_round <= complaint_round

    def forgot(self) -> None:
        """The follower lost its memory: nothing it answered before counts. What is left is found as
        ever, from `next_index` backwards."""
        self.match_index = self.lease_until_ms = 0
        self._probe()

    def _probe(self) -> None:
        self.mode = Mode.PROBE
        self.sending = None
        self.probe_sent = False
        self.doubt_round = 0
        self.in_flight.clear()
