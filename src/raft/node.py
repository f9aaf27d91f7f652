"""A server's consensus, whole: four inputs, each returns one Effects. Start reading here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from raftline.raft.change import Change
from raftline.raft.chunks import InstallSnapshot, InstallSnapshotReply
from raftline.raft.effects import Effects, HardState, SafetyError, Snapshot
from raftline.raft.election import (
    check_quorum,
    on_lost_leader,
    on_request_vote,
    on_request_vote_reply,
    on_silence,
    stand_soon,
)
from raftline.raft.follower_reads import ask_leader, on_read_index_reply, send_question, serve_ready
from raftline.raft.lease import promise_after_restart
from raftline.raft.log import Log
from raftline.raft.membership import Configurations, Membership
from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Message,
    PeerError,
    RequestVote,
    RequestVoteReply,
)
from raftline.raft.newborn import look_for_history
from raftline.raft.options import Options
from raftline.raft.questions import Question, ReadIndex, ReadIndexReply, TimeoutNow
from raftline.raft.reads import confirm, on_read_index, read, read_leased
from raftline.raft.reconfiguration import advance_change, begin_change, listens_to, say_if_removed
from raftline.raft.replication import (
    advance_commit,
    check_append,
    on_append_accepted,
    on_append_entries,
    on_append_rejected,
    on_install_snapshot_reply,
    propose,
    refuse_old_leader,
    send_heartbeats,
)
from raftline.raft.snapshot import (
    check_snapshot,
    compact,
    compaction_index,
    install,
    on_install_snapshot,
    refuse,
    snapshot_gone,
    snapshot_taken,
)
from raftline.raft.state import Role, State
from raftline.raft.transfer import (
    advance_transfer,
    begin_transfer,
    give_up_transfer,
    on_timeout_now,
)

# How far ahead a peer's term may be. Each election adds one, so no sound cluster comes near; but
# one forged line with the last term there is would end all elections for good.
TERM_LEAP_MAX = 2**48


class Node:
    """One server of the cluster as a pure state machine.

    The same state and the same input give the same Effects. Who calls carries each Effects out
    in order (see `Effects`) and tells with `synced` when entries have reached the disk. Times
    are milliseconds of any clock that never goes back.
    """

    def __init__(
        self,
        name: str,
        voters: Sequence[str] | Membership,
        log: Log,
        hard_state: HardState,
        options: Options,
        pick_timeout_ms: Callable[[], int],
        now_ms: int,
        *,
        amnesiac: bool = False,
        newborn: bool = False,
        may_be_new: bool = False,
        incarnation: int = 1,
        snapshot: Snapshot | None = None,
    ) -> None:
        if log.last_term > hard_state.term:
            raise SafetyError(f"{name} is in term {hard_state.term}, its log in {log.last_term}")
        self.state = State(
            name=name,
            configurations=Configurations(
                log.base_index,
                voters if isinstance(voters, Membership) else Membership(tuple(voters)),
                log.commands,
            ),
            log=log,
            term=hard_state.term,
            vote=hard_state.vote,
            options=options,
            pick_timeout_ms=pick_timeout_ms,
            now_ms=now_ms,
            amnesiac=amnesiac,
            newborn=newborn,
            may_be_new=amnesiac and may_be_new,
            incarnation=incarnation,
            lease_ms=hard_state.lease_ms,
            commit_index=log.base_index,
            last_applied=log.base_index,
            durable_index=log.last_index,
            snapshot=snapshot,
        )
        promise_after_restart(self.state)
        self.state.arm_election()
        stand_soon(self.state)

    def receive(self, message: Message, now_ms: int) -> Effects:
        """Take a message from a peer.

        Raises:
            PeerError: no server of a sound cluster sends this; nothing was changed.
        """
        state = self._begin(now_ms)
        if not listens_to(state, message):
            raise PeerError(f"{message.sender} is not a peer of {state.name}")
        if message.term - state.term > TERM_LEAP_MAX:
            raise PeerError(f"term {message.term} is too far ahead of mine, {state.term}")
        if isinstance(message, AppendEntries):
            check_append(state, message)
        elif isinstance(message, InstallSnapshot):
            check_snapshot(state, message)
        look_for_history(state, message)
        self._adopt_term(message)
        self._hand_on(state, message)
        return self._end()

    def _hand_on(self, state: State, message: Message) -> None:
        """Let the rule for this kind of message have it."""
        match message:
            case AppendEntries() | InstallSnapshot() if message.term < state.term:
                refuse_old_leader(state, message)
            case AppendEntries():
                on_append_entries(state, message)
            case InstallSnapshot():
                on_install_snapshot(state, message)
            case InstallSnapshotReply():
                on_install_snapshot_reply(state, message)
            case AppendAccepted():
                on_append_accepted(state, message)
            case AppendRejected():
                on_append_rejected(state, message)
            case RequestVote():
                on_request_vote(state, message)
            case RequestVoteReply():
                on_request_vote_reply(state, message)
            case _:
                self._take_question(message)

    def propose(self, commands: list[str], now_ms: int) -> Effects:
        """Append commands as the leader; they get the indexes `last_index + 1 …` in order.

        Raises:
            SafetyError: this server does not lead, or hands the leadership over; ask
                `takes_proposals` first.
        """
        if self.state.transfer is not None:
            raise SafetyError(f"{self.state.name} is asked to append while it gives way")
        propose(self._begin(now_ms), commands)
        return self._end()

    def change(self, change: Change, token: Any, now_ms: int) -> Effects:
        """Change the members as the leader; `token` comes back in `settled`, now or later.

        Raises:
            SafetyError: this server does not lead; ask `is_leader` first.
        """
        begin_change(self._begin(now_ms), change, token)
        return self._end()

    def read(self, tokens: Sequence[Any], now_ms: int) -> Effects:
        """Confirm reads; each token comes back in `reads` or in `refused`, now or later."""
        state = self._begin(now_ms)
        read(state, tokens)
        return self._end()

    def read_leased(self, tokens: Sequence[Any], now_ms: int) -> Effects:
        """Serve reads under this leader's lease; where it has none, as `read` does."""
        state = self._begin(now_ms)
        read_leased(state, tokens)
        return self._end()

    def ask_leader(self, tokens: Sequence[Any], now_ms: int) -> Effects:
        """Confirm reads at this follower by asking its leader; see `read` for the tokens."""
        state = self._begin(now_ms)
        ask_leader(state, tokens)
        return self._end()

    def transfer(self, to: str | None, now_ms: int) -> Effects:
        """Begin to hand the leadership over, to anybody fit where `to` is None.

        `state.transfer` is None again once this server leads on or follows.

        Raises:
            TransferRefused: it can't be; nothing was changed.
        """
        state = self._begin(now_ms)
        begin_transfer(state, to)
        return self._end()

    def obey(self, order: Callable[[State], None], now_ms: int) -> Effects:
        """Do what a controller asks (orders.py), by the rules of any other input.

        Raises:
            OrderRefused: it can't be done now; nothing was changed.
        """
        order(self._begin(now_ms))
        return self._end()

    def synced(self, index: int, term: int, now_ms: int) -> Effects:
        """Take note that the log up to this entry is on disk.

        A late report of an entry that has since been cut is told by its term and ignored: two
        logs that hold the same index and term are equal up to there (Log Matching, §5.3).
        """
        state = self._begin(now_ms)
        if state.log.term_at(index) == term:
            state.durable_index = max(state.durable_index, index)
        return self._end()

    def pass_time(self, now_ms: int) -> Effects:
        """Do what time asks for: heartbeats, CheckQuorum, an election, a question once more."""
        state = self._begin(now_ms)
        if state.transfer is not None and now_ms >= state.transfer.until_ms:
            give_up_transfer(state)
        if state.forwarded_reads.asked and now_ms >= state.forwarded_reads.again_at_ms:
            send_question(state)
        if state.role is Role.LEADER:
            check_quorum(state)
        if state.role is Role.LEADER and now_ms >= state.heartbeat_at_ms:
            send_heartbeats(state)
        elif state.role is not Role.LEADER and now_ms >= state.election_at_ms:
            on_silence(state)
        return self._end()

    def lost(self, peer: str, now_ms: int) -> Effects:
        """Take note that a peer's connection broke: if it led, stand soon instead of waiting out
        the timeout. Whether an election begins is for PreVote to say; this only asks earlier."""
        state = self._begin(now_ms)
        if state.role is Role.FOLLOWER and state.leader == peer:
            on_lost_leader(state)
        elif peer in state.progress:
            state.progress[peer].away = True
            if state.transfer is not None and state.transfer.to == peer:
                give_up_transfer(state)
        return self._end()

    def listens_to(self, message: Message) -> bool:
        """Whether a message may be taken from its sender; from any thread, as a first look."""
        return listens_to(self.state, message)

    def snapshot_taken(self, snapshot: Snapshot, now_ms: int) -> Effects:
        """Take note that a snapshot of this server's state lies on its disk, durable (§7).

        Raises:
            SafetyError: it stands for entries that were not applied here, or for other ones.
        """
        snapshot_taken(self._begin(now_ms), snapshot)
        return self._end()

    def compaction_index(self) -> int:
        """Return up to where the log may be dropped from memory now."""
        return compaction_index(self.state)

    def compact(self, index: int) -> bool:
        """Drop entries up to `index` from memory, some thousand at a time; return whether more
        are left to drop.

        Raises:
            SafetyError: no snapshot on disk stands for them.
        """
        return compact(self.state, index)

    def install(self, snapshot: Snapshot, members: Membership, now_ms: int) -> Effects:
        """Take over a snapshot that was asked to be checked, and passed."""
        install(self._begin(now_ms), snapshot, members)
        return self._end()

    def snapshot_gone(self, peer: str, snapshot: Snapshot, now_ms: int) -> Effects:
        """Take note that a piece could not be read: a later snapshot has taken the file's name."""
        snapshot_gone(self._begin(now_ms), peer, snapshot)
        return self._end()

    def refuse(self, snapshot: Snapshot, why: str, now_ms: int) -> Effects:
        """Take note that a snapshot which was asked to be checked did not pass."""
        refuse(self._begin(now_ms), snapshot, why)
        return self._end()

    @property
    def wake_at_ms(self) -> int:
        """When `pass_time` has something to do."""
        state = self.state
        if state.last_applied < state.commit_index:
            return state.now_ms
        if state.role is Role.LEADER:
            until = [state.transfer.until_ms] if state.transfer is not None else []
            return min(state.heartbeat_at_ms, state.quorum_check_at_ms, *until)
        if state.forwarded_reads.asked:
            return min(state.election_at_ms, state.forwarded_reads.again_at_ms)
        return state.election_at_ms

    @property
    def is_leader(self) -> bool:
        return self.state.role is Role.LEADER

    @property
    def takes_proposals(self) -> bool:
        """Whether this server leads and does not give way to another."""
        return self.state.role is Role.LEADER and self.state.transfer is None

    def _begin(self, now_ms: int) -> State:
        self.state.now_ms = max(now_ms, self.state.now_ms)
        self.state.out = Effects()
        return self.state

    def _end(self) -> Effects:
        state = self.state
        if state.role is Role.LEADER:
            advance_commit(state)
            advance_change(state)
        state.hand_out_committed()
        say_if_removed(state)
        if state.role is Role.LEADER:
            confirm(state)
            advance_transfer(state)
        serve_ready(state)
        return state.out

    def _take_question(self, message: Question) -> None:
        match message:
            case TimeoutNow():
                on_timeout_now(self.state, message)
            case ReadIndex():
                on_read_index(self.state, message)
            case ReadIndexReply():
                on_read_index_reply(self.state, message)

    def _adopt_term(self, message: Message) -> None:
        """A higher term in any message makes this server a follower in it (Figure 2, all
        servers). Questions and grants of PreVote speak of a term that nobody is in yet; a
        RequestVote while the leader is heard is not obeyed (thesis §4.2.3), unless that leader
        gave way: then it names the term right behind this one (thesis §3.10)."""
        state = self.state
        if message.term <= state.term:
            return
        if isinstance(message, RequestVote):
            given_way = message.transfer and message.term == state.term + 1
            if message.pre_vote or (state.hears_from_leader and not given_way):
                return
        if isinstance(message, RequestVoteReply) and message.pre_vote and message.granted:
            return
        state.follow(message.term, None)
