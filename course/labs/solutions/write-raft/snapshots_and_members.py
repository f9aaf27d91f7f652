"""The part of lab 7 that the evening's copy lacks: snapshots [11] and changes of the members [12].

The model solution is course/small/raft.py with this file, and a last line that takes this
`Node` in the place of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any

import raft
from raft import AppendAccepted, AppendEntries, AppendRejected, Follower, Propose
from raftline.raft.change import ChangeRefused, plan
from raftline.raft.effects import Chunk, Settled
from raftline.raft.log import Snapshot
from raftline.raft.membership import Configurations, Membership
from raftline.raft.messages import InstallSnapshot, InstallSnapshotReply

PATIENCE = 10  # election timeouts that a new member has to catch up


@dataclass
class Effects(raft.Effects):
    """The output of a step; the arriving snapshot is written before the messages leave."""

    chunks: list[Chunk] = field(default_factory=list)
    install: Snapshot | None = None
    check: Snapshot | None = None
    settled: list[Settled] = field(default_factory=list)


@dataclass
class Change:
    """A change of members under way (§6)."""

    target: Membership
    candidate: str | None
    token: Any
    caught_up_at: int
    until_ms: int
    begun: bool = False


class Node(raft.Node):
    """One server, whose log may begin with a snapshot, and whose members may change."""

    out: Effects
    log: Any  # raftline's, which may begin with a snapshot
    options: Any  # with `chunk_bytes`

    def __init__(self, start: Any, now_ms: int) -> None:
        super().__init__(start, now_ms)
        base = self.log.base_index
        self.commit_index = self.last_applied = base
        self.snapshot: Snapshot | None = start.snapshot
        self.incoming: tuple[Snapshot, int] | None = None  # a snapshot, and how much is here
        self.offsets: dict[str, int] = {}  # of a leader: how much of the snapshot a follower holds
        self.change: Change | None = None  # of a leader
        self.configurations = Configurations(base, start.members, self.log.commands)
        self.use_latest()

    def step(self, taken: Any, now_ms: int) -> Effects:
        self.now_ms, self.out = now_ms, Effects()
        if rule := raft.RULES.get(type(taken).__name__):
            rule(self, taken)
        self.advance()
        return self.out

    # --- the latest configuration of the log counts (§6) ------------------------------------------

    @property
    def members(self) -> Membership:
        return self.configurations.latest

    def use_latest(self) -> None:
        """Speak to the members of the latest configuration, committed or not."""
        self.peers = [name for name in self.members.names if name != self.name]
        if self.role == "leader":
            new = {peer: Follower(self.log.last_index + 1, self.now_ms) for peer in self.peers}
            self.followers = {peer: self.followers.get(peer, new[peer]) for peer in self.peers}

    def append(self, term: int, command: str) -> None:
        super().append(term, command)
        self.configurations.append(self.log.last_index, command)
        self.use_latest()

    def cut_after(self, index: int) -> None:
        super().cut_after(index)
        self.configurations.cut_after(index)
        self.use_latest()

    def may_stand(self) -> bool:
        """A configuration without this server may be in its log alone. Until it is committed, who
        votes in the one before can't be elected without this server (thesis §4.2.2)."""
        index = self.configurations.index
        before = self.configurations.at(index - 1) if index > self.commit_index else self.members
        return not self.is_lost and self.name in (*self.members.electors, *before.electors)

    def is_majority(self, names: Collection[str]) -> bool:
        return self.members.is_quorum(names)

    def reached_by_majority(self, own: int, of: Callable[[Follower], int]) -> int:
        reached = {name: of(one) if one.is_counted else 0 for name, one in self.followers.items()}
        return self.members.reached_by_quorum({**reached, self.name: own})

    # --- changes of members [12] ------------------------------------------------------------------

    def follow(self, term: int, leader: str | None) -> None:
        super().follow(term, leader)
        if self.change is not None:
            self.settle("unknown", "I lead no longer")

    def settle(self, outcome: str, text: str) -> None:
        assert self.change is not None
        self.out.settled.append(Settled(self.change.token, outcome, text))
        self.change = None

    def change_members(self, taken: Any) -> None:
        try:
            planned = plan(taken.change, self.members)
            if self.role != "leader":
                raise ChangeRefused("I do not lead")
            if self.change is not None or not self.is_settled():
                raise ChangeRefused("another change is under way")
        except ChangeRefused as refused:
            self.out.settled.append(Settled(taken.token, "refused", str(refused)))
            return
        if planned.learner_first is not None:
            self.propose(Propose([planned.learner_first.format()]))
        until_ms = self.now_ms + PATIENCE * self.options.election_timeout_ms
        given = (planned.target, planned.candidate, taken.token, self.log.last_index, until_ms)
        self.change = Change(*given)

    def is_settled(self) -> bool:
        """Whether the latest configuration is not joint, and committed as this leader knows."""
        is_known = self.log.term_at(self.commit_index) == self.term
        is_committed = self.configurations.index <= self.commit_index
        return is_known and is_committed and not self.members.is_joint

    def commit(self) -> None:
        super().commit()
        if self.configurations.index > self.commit_index:
            return  # one configuration after the other
        if self.members.is_joint:
            if self.log.term_at(self.commit_index) == self.term:
                self.propose(Propose([self.members.settled().format()]))
            return
        if self.change is not None and self.change.begun:
            self.settle("done", "the members have changed")
        elif self.change is not None:
            self.begin(self.change)
        if self.name not in self.members.voters and self.configurations.index:
            self.send_to_all()  # the others learn that this is committed
            self.follow(self.term, None)

    def begin(self, change: Change) -> None:
        """Append the new configuration, once the new member has caught up (thesis §4.2.1)."""
        if change.candidate is not None:
            if self.now_ms > change.until_ms:
                self.settle("unknown", f"{change.candidate} does not catch up")
                return
            if self.followers[change.candidate].match_index < change.caught_up_at:
                return
        change.begun = True
        moves = set(change.target.voters) != set(self.members.voters)
        new = self.members.joint_to(change.target) if moves else change.target
        self.propose(Propose([new.format()]))

    # --- snapshots [11] ---------------------------------------------------------------------------

    def snapshot_taken(self, taken: Any) -> None:
        self.snapshot = taken.snapshot

    def compact(self, taken: Any) -> None:
        if taken.index > self.log.base_index:
            self.log.compact(taken.index)
            self.configurations.compact(taken.index)

    def send_to(self, peer: str) -> None:
        if self.followers[peer].next_index > self.log.base_index:
            super().send_to(peer)
        elif self.snapshot is not None:
            offset = self.offsets.get(peer, 0)
            if offset > self.snapshot.size:  # of an earlier snapshot, which was longer
                offset = self.offsets[peer] = 0
            length = min(self.options.chunk_bytes, self.snapshot.size - offset)
            given = (self.term, self.snapshot, offset, length, self.round)
            self.out.send_after_save.append(InstallSnapshot(self.name, peer, *given))

    def on_rejected(self, answer: AppendRejected) -> None:
        self.offsets.pop(answer.sender, None)
        super().on_rejected(answer)

    def on_piece_held(self, answer: Any) -> None:
        follower = self.follower_of(answer)
        if follower is None or self.snapshot is None or follower.next_index > self.log.base_index:
            return
        is_of_it = (answer.index, answer.index_term) == self.snapshot[:2]
        if is_of_it and answer.offset != self.offsets.get(answer.sender, 0):
            self.offsets[answer.sender] = answer.offset
            self.send_to(answer.sender)

    def on_append(self, sent: AppendEntries) -> None:
        held = self.log.base_index - sent.prev_index
        if held > 0:  # the snapshot has these entries
            at = {"prev_index": self.log.base_index, "prev_term": self.log.base_term}
            sent = replace(sent, entries=sent.entries[held:], **at)
        super().on_append(sent)

    def on_piece(self, piece: Any) -> None:
        snapshot = piece.snapshot
        if piece.term < self.term:
            self.answer(AppendRejected, piece, self.log.last_index)
            return
        self.hear_leader(piece)
        if snapshot.index <= self.commit_index:
            self.answer(AppendAccepted, piece, snapshot.index)
            return
        if self.incoming is None or self.incoming[0] != snapshot:
            self.incoming = (snapshot, 0)
        received = self.incoming[1]
        if piece.offset == received < snapshot.size:
            self.out.chunks.append(Chunk(received, piece.raw))
            received += len(piece.raw)
            self.incoming = (snapshot, received)
            if received >= snapshot.size:
                self.out.check = snapshot
        given = (self.term, snapshot.index, snapshot.term, received, piece.round)
        self.out.send_after_save.append(InstallSnapshotReply(self.name, piece.sender, *given))

    def snapshot_checked(self, taken: Any) -> None:
        """Figure 13, receiver 6 to 8."""
        snapshot = taken.snapshot
        if self.incoming is None or self.incoming[0] != snapshot:
            return
        self.incoming = None
        if snapshot.index <= self.commit_index:
            return
        if self.log.term_at(snapshot.index) == snapshot.term:
            self.commit_index = snapshot.index
            return
        self.log.reset(snapshot.index, snapshot.term)
        self.configurations = Configurations(snapshot.index, taken.members)
        self.use_latest()
        self.commit_index = self.last_applied = snapshot.index
        self.durable_index = min(self.durable_index, snapshot.index)
        self.snapshot = self.out.install = snapshot

    def snapshot_rejected(self, taken: Any) -> None:
        self.incoming = None

    def snapshot_gone(self, taken: Any) -> None:
        self.offsets.pop(taken.peer, None)


MORE: dict[str, Any] = {
    "AppendEntries": Node.on_append,
    "AppendRejected": Node.on_rejected,
    "ChangeMembers": Node.change_members,
    "Compact": Node.compact,
    "InstallSnapshot": Node.on_piece,
    "InstallSnapshotReply": Node.on_piece_held,
    "SnapshotChecked": Node.snapshot_checked,
    "SnapshotGone": Node.snapshot_gone,
    "SnapshotRejected": Node.snapshot_rejected,
    "SnapshotTaken": Node.snapshot_taken,
}
raft.RULES.update(MORE)
