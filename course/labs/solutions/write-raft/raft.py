"""Raft: one server as a state machine. An input and the time go in, Effects come out.

The numbers in brackets name the milestone of the sheet that asks for a rule.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from raftline.raft import inputs
from raftline.raft.change import ChangeRefused, plan
from raftline.raft.effects import Chunk, Effects, HardState, ReadReady, Settled
from raftline.raft.log import Entry, Snapshot
from raftline.raft.membership import Configurations, Membership
from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    InstallSnapshot,
    InstallSnapshotReply,
    RequestVote,
    RequestVoteReply,
)

BATCH = 200  # most entries in one message
PATIENCE = 10  # election timeouts that a new member has to catch up


@dataclass
class Follower:
    """A leader's view of another server (Figure 2)."""

    next_index: int
    match_index: int = 0
    acked_round: int = 0
    heard_ms: int = 0
    offset: int = 0  # how much of the snapshot it holds


@dataclass
class Change:
    """A change of members under way (§6)."""

    target: Membership
    candidate: str | None
    token: Any
    caught_up_at: int
    until_ms: int
    begun: bool = False


@dataclass
class Leading:
    """The state that ends with a leadership (Figure 2)."""

    round: int = 0
    heartbeat_at_ms: int = 0
    quorum_at_ms: int = 0
    followers: dict[str, Follower] = field(default_factory=dict)
    waiting: list[Any] = field(default_factory=list)  # reads that may not begin yet
    reads: list[tuple[int, int, Any]] = field(default_factory=list)  # round, index, token
    change: Change | None = None


class Node:
    """One server."""

    def __init__(self, start: Any, now_ms: int) -> None:
        self.name: str = start.name
        self.log = start.log
        self.term: int = start.term
        self.vote: str | None = start.vote
        self.snapshot: Snapshot | None = start.snapshot
        self.options = start.options
        self._pick_timeout_ms = start.pick_timeout_ms
        self._lost: bool = start.lost
        self.leader: str | None = None
        self.commit_index: int = self.log.base_index
        self._applied: int = self.log.base_index
        self._durable: int = self.log.last_index
        self._configurations = Configurations(self.log.base_index, start.members, self.log.commands)
        self._votes: set[str] | None = None  # while it is a candidate
        self._leading: Leading | None = None
        self._incoming: tuple[Snapshot, int] | None = None  # a snapshot, and how much is here
        self._heard_leader_ms: int | None = None
        self._now_ms = now_ms
        self._out = Effects()
        self._wait_for_leader()

    # --- what the world asks ----------------------------------------------------------------

    @property
    def role(self) -> str:
        if self._leading is not None:
            return "leader"
        return "follower" if self._votes is None else "candidate"

    @property
    def wake_at_ms(self) -> int:
        if self._leading is not None:
            return min(self._leading.heartbeat_at_ms, self._leading.quorum_at_ms)
        return self._election_at_ms

    def step(self, taken: Any, now_ms: int) -> Effects:  # noqa: C901 - one case an input
        """Process one input; return its effects."""
        self._now_ms, self._out = now_ms, Effects()
        match taken:
            case inputs.Tick():
                self._tick()
            case inputs.Receive(message):
                self._receive(message)
            case inputs.Propose(commands):
                self._append_as_leader(commands)
            case inputs.Synced(index, term):
                if self.log.term_at(index) == term:
                    self._durable = max(self._durable, index)
            case inputs.Read(tokens):
                self._read(tokens)
            case inputs.ChangeMembers(change, token):
                self._change_members(change, token)
            case inputs.SnapshotTaken(snapshot):
                self.snapshot = snapshot
            case inputs.Compact(index):
                if index > self.log.base_index:
                    self.log.compact(index)
                    self._configurations.compact(index)
            case inputs.SnapshotChecked(snapshot, members):
                self._install(snapshot, members)
            case inputs.SnapshotRejected(snapshot):
                self._incoming = None
            case inputs.SnapshotGone(peer, _):
                if self._leading is not None and peer in self._leading.followers:
                    self._leading.followers[peer].offset = 0
        self._advance()
        return self._out

    # --- terms, votes [1-3] -----------------------------------------------------------------

    @property
    def _members(self) -> Membership:
        return self._configurations.latest

    @property
    def _peers(self) -> list[str]:
        return [name for name in self._members.names if name != self.name]

    def _send(self, message: Any) -> None:
        self._out.send_after_save.append(message)

    def _save(self, term: int, vote: str | None) -> None:
        self.term, self.vote = term, vote
        self._out.save = HardState(term, vote)

    def _wait_for_leader(self) -> None:
        self._election_at_ms = self._now_ms + self._pick_timeout_ms()

    def _follow(self, term: int, leader: str | None) -> None:
        if term > self.term:
            self._save(term, None)
        if self._leading is not None:
            self._stop_leading()
        self._votes, self.leader = None, leader

    def _stop_leading(self) -> None:
        leading, self._leading = self._leading, None
        assert leading is not None
        self._out.refused += [*leading.waiting, *(token for _, _, token in leading.reads)]
        if leading.change is not None:
            self._out.settled.append(Settled(leading.change.token, "unknown", "I lead no longer"))
        self._wait_for_leader()

    def _tick(self) -> None:
        if self._leading is not None:
            self._check_quorum()
        if self._leading is not None:
            if self._now_ms >= self._leading.heartbeat_at_ms:
                self._send_to_all()
        elif self._now_ms >= self._election_at_ms:
            self._stand()

    def _stand(self) -> None:
        self._wait_for_leader()
        if self._lost or not self._may_stand():
            return
        self._save(self.term + 1, self.name)
        self._votes, self.leader = {self.name}, None
        for peer in self._members.electors:
            if peer != self.name:
                self._send(
                    RequestVote(self.name, peer, self.term, self.log.last_index, self.log.last_term)
                )
        self._count_votes()

    def _may_stand(self) -> bool:
        """[12] A configuration without this server may be in its log alone. Until it is committed,
        who votes in the one before can't be elected without this server (thesis §4.2.2)."""
        if self.name in self._members.electors:
            return True
        index = self._configurations.index
        before = self._configurations.at(index - 1)
        return index > self.commit_index and self.name in before.electors

    def _count_votes(self) -> None:
        if self._votes is None or not self._members.is_quorum(self._votes):
            return
        self._votes, self.leader = None, self.name
        timeout_ms = self.options.election_timeout_ms
        self._leading = Leading(quorum_at_ms=self._now_ms + timeout_ms)
        self._append_as_leader(["noop"])  # [7] commits what earlier terms left

    def _receive(self, message: Any) -> None:
        is_vote = isinstance(message, RequestVote)
        if is_vote and (message.pre_vote or self._hears_leader()):
            return  # [12] a removed server disturbs nobody
        if message.term > self.term:
            self._follow(message.term, None)
        match message:
            case RequestVote():
                self._on_request(message)
            case RequestVoteReply():
                is_mine = message.term == self.term and not message.pre_vote
                if is_mine and message.granted and self._votes is not None:
                    self._votes.add(message.sender)
                    self._count_votes()
            case AppendEntries():
                self._on_append(message)
            case InstallSnapshot():
                self._on_piece(message)
            case AppendAccepted() | AppendRejected() | InstallSnapshotReply():
                if message.term == self.term and self._leading is not None:
                    self._on_answer(message)

    def _hears_leader(self) -> bool:
        if self._leading is not None:
            return True
        heard_ms = self._heard_leader_ms
        return heard_ms is not None and self._now_ms - heard_ms < self.options.election_timeout_ms

    def _on_request(self, message: RequestVote) -> None:
        granted = (
            not self._lost
            and message.term == self.term
            and self.vote in (None, message.sender)
            and self._leading is None
            and (message.last_term, message.last_index)
            >= (self.log.last_term, self.log.last_index)  # [3] the better log (§5.4.1)
        )
        if granted:
            if self.vote is None:
                self._save(self.term, message.sender)
            self._wait_for_leader()
        self._send(RequestVoteReply(self.name, message.sender, self.term, granted))

    # --- a follower [4-6] -------------------------------------------------------------------

    def _hear_leader(self, message: Any) -> bool:
        """Follow the sender; return False, and tell it the term, if it leads no longer."""
        if message.term < self.term:
            self._send(AppendRejected(self.name, message.sender, self.term, 0, message.round))
            return False
        if self.leader != message.sender or self._votes is not None:
            self._follow(message.term, message.sender)
        self._heard_leader_ms = self._now_ms
        self._wait_for_leader()
        return True

    def _on_append(self, message: AppendEntries) -> None:
        if not self._hear_leader(message):
            return
        log = self.log
        match_index = message.prev_index + len(message.entries)
        if message.prev_index > log.last_index or (
            message.prev_index >= log.base_index
            and log.term_at(message.prev_index) != message.prev_term
        ):
            hint = min(message.prev_index - 1, log.last_index)
            while hint > self.commit_index and log.term_at(hint) == log.term_at(message.prev_index):
                hint -= 1  # [5] over the whole term that differs
            self._reply(AppendRejected, message, max(hint, 0))
            return
        for entry in message.entries:
            if entry.index <= log.base_index or log.term_at(entry.index) == entry.term:
                continue  # [6] it is there already
            if entry.index <= log.last_index:
                self._cut_after(entry.index - 1)
            self._append(entry)
        self.commit_index = max(self.commit_index, min(message.commit_index, match_index))
        self._reply(AppendAccepted, message, match_index)

    def _reply(self, kind: Any, message: Any, index: int) -> None:
        self._send(kind(self.name, message.sender, self.term, index, message.round))

    def _append(self, entry: Entry) -> None:
        self.log.append(entry.term, entry.command)
        self._configurations.append(entry.index, entry.command)
        self._out.append.append(entry)

    def _cut_after(self, index: int) -> None:
        self.log.cut_after(index)
        self._configurations.cut_after(index)
        self._durable = min(self._durable, index)
        self._out.cut_after = index

    # --- the leader [4-7, 10] ---------------------------------------------------------------

    def _append_as_leader(self, commands: list[str]) -> None:
        if self._leading is None:
            return
        for command in commands:
            self._append(Entry(self.log.last_index + 1, self.term, command))
        self._send_to_all()

    def _send_to_all(self) -> None:
        leading = self._leading
        assert leading is not None
        leading.round += 1
        leading.heartbeat_at_ms = self._now_ms + self.options.heartbeat_ms
        for peer in self._peers:
            self._send_to(peer)

    def _follower(self, peer: str) -> Follower:
        assert self._leading is not None
        new = Follower(self.log.last_index + 1, heard_ms=self._now_ms)
        return self._leading.followers.setdefault(peer, new)

    def _send_to(self, peer: str) -> None:
        follower, log = self._follower(peer), self.log
        assert self._leading is not None
        if follower.next_index <= log.base_index:
            self._send_piece(peer, follower)
            return
        prev = follower.next_index - 1
        entries = log.entries(prev + 1, min(log.last_index, prev + BATCH))
        self._send(
            AppendEntries(
                self.name,
                peer,
                self.term,
                prev,
                log.term_at(prev) or 0,
                entries,
                self.commit_index,
                self._leading.round,
            )
        )

    def _on_answer(self, message: Any) -> None:
        if message.sender not in self._members.names:
            return
        follower = self._follower(message.sender)
        follower.heard_ms = self._now_ms
        follower.acked_round = max(follower.acked_round, message.round)
        if isinstance(message, AppendAccepted):
            follower.match_index = max(follower.match_index, message.index)
            follower.next_index = max(follower.next_index, message.index + 1)
            if follower.next_index <= self.log.last_index:
                self._send_to(message.sender)
        elif isinstance(message, AppendRejected):
            is_late = message.round < follower.acked_round
            if message.index + 1 < follower.next_index and not is_late:
                follower.next_index = message.index + 1
                # [8] It may have lost what it held; to believe it so does no harm.
                follower.match_index = min(follower.match_index, message.index)
                follower.offset = 0
                self._send_to(message.sender)
        else:
            self._on_piece_held(message, follower)

    def _check_quorum(self) -> None:
        leading, timeout_ms = self._leading, self.options.election_timeout_ms
        assert leading is not None
        if self._now_ms < leading.quorum_at_ms:
            return
        leading.quorum_at_ms = self._now_ms + timeout_ms
        near = [p for p in self._peers if self._now_ms - self._follower(p).heard_ms <= timeout_ms]
        if not self._members.is_quorum([self.name, *near]):
            self._follow(self.term, None)

    # --- what has become possible [1, 4, 7, 9, 12] ------------------------------------------

    def _advance(self) -> None:
        if self._leading is not None:
            self._commit()
            self._go_on_with_change()
        if self.commit_index > self._applied:
            self._out.apply += self.log.entries(self._applied + 1, self.commit_index)
            self._applied = self.commit_index
        if self._leading is not None:
            self._serve_reads(self._leading)

    def _commit(self) -> None:
        assert self._leading is not None
        held = {name: one.match_index for name, one in self._leading.followers.items()}
        index = self._members.reached_by_quorum({**held, self.name: self._durable})
        if index > self.commit_index and self.log.term_at(index) == self.term:  # [7]
            self.commit_index = index

    def _read(self, tokens: Any) -> None:
        if self._leading is None:
            self._out.refused += tokens
        else:
            self._leading.waiting += tokens

    def _serve_reads(self, leading: Leading) -> None:
        if leading.waiting and self.log.term_at(self.commit_index) == self.term:
            self._send_to_all()  # [9] a round that confirms that this server still leads
            leading.reads += [(leading.round, self.commit_index, one) for one in leading.waiting]
            leading.waiting = []
        rounds = {name: one.acked_round for name, one in leading.followers.items()}
        confirmed = self._members.reached_by_quorum({**rounds, self.name: leading.round})
        rest = []
        for number, index, token in leading.reads:
            if number <= confirmed and index <= self._applied:
                self._out.reads.append(ReadReady(token, index))
            else:
                rest.append((number, index, token))
        leading.reads = rest

    # --- snapshots [11] ---------------------------------------------------------------------

    def _send_piece(self, peer: str, follower: Follower) -> None:
        assert self._leading is not None
        snapshot = self.snapshot
        if snapshot is None:
            return
        length = min(self.options.chunk_bytes, snapshot.size - follower.offset)
        if length < 0:  # a later and shorter snapshot
            follower.offset, length = 0, min(self.options.chunk_bytes, snapshot.size)
        self._send(
            InstallSnapshot(
                self.name,
                peer,
                self.term,
                snapshot,
                follower.offset,
                length,
                self._leading.round,
            )
        )

    def _on_piece_held(self, message: InstallSnapshotReply, follower: Follower) -> None:
        if self.snapshot is None or (message.index, message.index_term) != self.snapshot[:2]:
            return
        if follower.next_index <= self.log.base_index and message.offset != follower.offset:
            follower.offset = message.offset
            self._send_to(message.sender)

    def _on_piece(self, message: InstallSnapshot) -> None:
        if not self._hear_leader(message):
            return
        snapshot = message.snapshot
        if snapshot.index <= self.commit_index:
            self._reply(AppendAccepted, message, snapshot.index)
            return
        if self._incoming is None or self._incoming[0] != snapshot:
            self._incoming = (snapshot, 0)
        received = self._incoming[1]
        if message.offset == received < snapshot.size:
            self._out.chunks.append(Chunk(received, message.raw))
            received += len(message.raw)
            self._incoming = (snapshot, received)
            if received >= snapshot.size:
                self._out.check = snapshot
        self._send(
            InstallSnapshotReply(
                self.name,
                message.sender,
                self.term,
                snapshot.index,
                snapshot.term,
                received,
                message.round,
            )
        )

    def _install(self, snapshot: Snapshot, members: Membership) -> None:
        if self._incoming is None or self._incoming[0] != snapshot:
            return
        self._incoming = None
        if snapshot.index <= self.commit_index:
            return
        if self.log.term_at(snapshot.index) == snapshot.term:
            self.commit_index = snapshot.index
            return
        self.log.reset(snapshot.index, snapshot.term)
        self._configurations = Configurations(snapshot.index, members)
        self.commit_index = self._applied = snapshot.index
        self._durable = min(self._durable, snapshot.index)
        self.snapshot = self._out.install = snapshot

    # --- members [12] -----------------------------------------------------------------------

    def _change_members(self, change: Any, token: Any) -> None:
        leading = self._leading
        try:
            if leading is None:
                raise ChangeRefused("I do not lead")
            is_settled = (
                leading.change is None
                and self._configurations.index <= self.commit_index
                and not self._members.is_joint
                and self.log.term_at(self.commit_index) == self.term
            )
            if not is_settled:
                raise ChangeRefused("another change is under way")
            planned = plan(change, self._members)
        except ChangeRefused as refused:
            self._out.settled.append(Settled(token, "refused", str(refused)))
            return
        if planned.learner_first is not None:
            self._append_as_leader([planned.learner_first.format()])
        until_ms = self._now_ms + PATIENCE * self.options.election_timeout_ms
        leading.change = Change(
            planned.target, planned.candidate, token, self.log.last_index, until_ms
        )

    def _go_on_with_change(self) -> None:
        leading = self._leading
        assert leading is not None
        if self._configurations.index > self.commit_index:
            return  # the latest configuration is not committed yet
        if self._members.is_joint:
            if self.log.term_at(self.commit_index) == self.term:
                self._append_as_leader([self._members.settled().format()])
            return
        change = leading.change
        if change is not None and not change.begun:
            self._begin_change(change)
        elif change is not None:
            leading.change = None
            self._out.settled.append(Settled(change.token, "done", "the members have changed"))
        if self.name not in self._members.voters and self._configurations.index:
            self._send_to_all()  # tell it that this is committed
            self._follow(self.term, None)

    def _begin_change(self, change: Change) -> None:
        leading = self._leading
        assert leading is not None
        if change.candidate is not None:
            if self._now_ms > change.until_ms:
                leading.change = None
                text = f"{change.candidate} does not catch up"
                self._out.settled.append(Settled(change.token, "unknown", text))
                return
            if self._follower(change.candidate).match_index < change.caught_up_at:
                return
        change.begun = True
        moves = set(change.target.voters) != set(self._members.voters)
        new = self._members.joint_to(change.target) if moves else change.target
        self._append_as_leader([new.format()])
