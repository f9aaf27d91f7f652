"""A leader's view of one follower: its log, the next entry to send, the messages in flight."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum

from .log import Snapshot
from .messages import Difference


class Mode(Enum):
    """How a leader sends to a follower."""

    PROBE = "probe"  # one message at a time, until the leader knows where the logs agree
    REPLICATE = "replicate"  # ahead of the answers, up to a window
    SNAPSHOT = "snapshot"  # chunks of a snapshot, since the log lost the entries it lacks


@dataclass(slots=True)
class Sending:
    """A snapshot in transfer to one follower: the bytes that it holds, and the next to send."""

    snapshot: Snapshot
    held: int = 0  # bytes that the follower reports to hold
    next_offset: int = 0
    moved_at_ms: int = 0  # the time of the follower's last answer about it, or of a resend


@dataclass(slots=True)
class Comparison:
    """A follower's sums of one kind, compared with the leader's own in this leadership."""

    agreed_index: int = 0  # the last entry at which they were equal
    first_index: int = 0  # the first at which they differed since then; 0: they do not differ
    latest: Difference | None = None  # the last at which they differed, with the leader's sum
    since_ms: int = 0  # when the first was found
    theirs: dict[int, int] = field(default_factory=dict)  # the last sums that differed, by entry


@dataclass(slots=True)
class Progress:
    """nextIndex and matchIndex (paper, Figure 2), with modes and a window (thesis §10.2.1).

    `match_index < next_index` always holds. `acked_round` is the latest send that was answered in
    this term, whether or not it appended entries: proof that the follower still followed then.
    """

    next_index: int
    heard_at_ms: int
    match_index: int = 0
    mode: Mode = Mode.PROBE
    probe_sent: bool = False
    in_flight: deque[int] = field(default_factory=deque)  # last index of each unanswered message
    commit_sent: int = 0  # the commit index of the last message
    acked_round: int = 0
    since_round: int = 0  # answers to earlier sends are of before it was added again
    sending: Sending | None = None  # in snapshot mode
    rewound_round: int = 0  # complaints about sends up to this round are outdated
    doubt_round: int = 0  # all sends from this round on begin right after `match_index`
    matched_round: int = 0  # the last send before `match_index` rose
    away: bool = False  # its connection broke, and nothing has arrived since
    lease_until_ms: int = 0  # until then it votes for no other server, by this leader's clock
    # Amnesia: a follower that lost its memory is not counted until it has recovered.
    is_counted: bool = True
    lost_index: int = 0  # acknowledged but missing; until it was told and answered
    incarnation: int = 0  # the incarnation that reported its loss
    may_be_new: bool = False  # it can't know whether it lost anything
    readmit_round: int = 0  # answers to earlier sends belong to an earlier incarnation
    readmit_index: int | None = None  # the entry that it must hold, committed, before it votes
    vote_again_round: int = 0  # the first send that let it vote again
    # Agreement: its sums, and whether they are the leader's (raft/agreement.py).
    entries: Comparison = field(default_factory=Comparison)
    state: Comparison = field(default_factory=Comparison)
    is_told: bool = False  # a quorum has another sum, and each message tells it
    applied_index: int = 0  # the last entry that it reported as applied
    reported_difference: int = 0  # the entry at which it knows that it differs
    received_index: int = 0  # the snapshot by which its state came; 0: others have confirmed it
    # Membership: a removed server is told so, and then forgotten.
    leave_index: int = 0  # the entry that removed it
    leave_round: int = 0  # the first send that reported its removal
    leave_by_ms: int = 0  # when the leader gives up telling it

    @property
    def loss(self) -> str:
        """The known or possible loss of a follower that is not counted."""
        return "is new, or lost its memory" if self.may_be_new else "lost its memory"

    @property
    def differs_at(self) -> int:
        """The entry at which its state is known to differ; 0: it is not known to differ."""
        told = self.told_difference
        return told.index if told is not None else self.reported_difference

    @property
    def difference(self) -> Difference | None:
        """The latest difference that this leader found: the follower can still check that one."""
        return self.entries.latest or self.state.latest

    @property
    def told_difference(self) -> Difference | None:
        """The difference that each message tells the follower."""
        return self.difference if self.is_told else None

    def vote_again(self, round_now: int) -> int:
        """Return the incarnation that a send of this round allows to vote again, or 0
        (raft/recovering.py)."""
        is_due = not self.is_counted and 0 < self.vote_again_round <= round_now
        return self.incarnation if is_due else 0

    def matched(self, index: int, round_now: int) -> None:
        """Record that the follower holds the leader's log up to `index`; send ahead from now on."""
        self.doubt_round = 0
        if index > self.match_index:
            self.matched_round = round_now
        self.match_index = max(self.match_index, index)
        self.next_index = max(self.next_index, self.match_index + 1)
        if self.sending is not None and index < self.sending.snapshot.index:
            return  # an answer from before the snapshot transfer
        self.mode = Mode.REPLICATE
        self.sending = None
        self.probe_sent = False
        while self.in_flight and self.in_flight[0] <= self.match_index:
            self.in_flight.popleft()

    def rewind(self, agree_index: int, round_now: int) -> None:
        """Probe again right after `agree_index`, but never before `match_index`."""
        self.next_index = max(self.match_index, agree_index) + 1
        self.rewound_round = round_now
        self._probe()
        if self.next_index == self.match_index + 1:
            self.doubt_round = round_now + 1

    def lacks_acknowledged(self, complaint_round: int, held_index: int, base_index: int) -> bool:
        """Whether a complaint proves that the follower lost entries that it had acknowledged.

        A follower that holds these entries accepts any message that continues right after
        `match_index` (§5.3, Log Matching). So it lost them if it refuses a send made after the
        leader returned to that index. If the leader's log begins after `match_index`, nothing can
        be sent from there; then the end that the follower names is the proof. (A follower that
        holds the entries may name an earlier index if its log differs later on, in a run of one
        term that began earlier. It is treated as if it had lost them, which costs it its vote until
        it has the leader's snapshot.)
        """
        if not self.match_index:
            return False
        if self.match_index < base_index:
            return held_index < self.match_index
        return 0 < self.doubt_round <= complaint_round

    def is_outdated(self, complaint_round: int, held_index: int, base_index: int) -> bool:
        """Whether a complaint says nothing of what the follower holds by now: messages may overtake
        each other, and it answered this send before it held all of `match_index`."""
        is_older = held_index < self.match_index < base_index
        return complaint_round <= max(self.rewound_round, self.matched_round if is_older else 0)

    def forgot(self) -> None:
        """Record that the follower lost its memory, so its earlier answers no longer count. Probing
        from `next_index` backwards finds its remaining entries as usual."""
        self.match_index = self.lease_until_ms = 0
        self._probe()

    def _probe(self) -> None:
        self.mode = Mode.PROBE
        self.sending = None
        self.probe_sent = False
        self.doubt_round = 0
        self.in_flight.clear()
