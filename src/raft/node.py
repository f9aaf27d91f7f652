"""The consensus of one server as a function: an input and the time go in, one Effects comes out.

Start reading here: `_RULES` has the rule for each input, and `_MESSAGE_RULES` the rule for each
message that `receive` accepts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from . import inputs
from .agreement import judge, note_chain, note_state_sum
from .append_entries import (
    FromLeader,
    check_append,
    check_leader,
    on_append_entries,
    refuse_old_leader,
)
from .applies_nothing import check_applying, note_applied
from .effects import Effects, HardState
from .election import (
    arm_first_election,
    check_quorum,
    on_disconnected,
    on_request_vote,
    on_request_vote_reply,
    on_silence,
)
from .far_terms import FromFollower, is_too_far, meet_far_term
from .identity import ClusterIdentity
from .leader_lease import extend_lease
from .log import Entry, Log, SafetyError, Snapshot
from .membership import Configurations, Membership
from .messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    InstallSnapshot,
    InstallSnapshotReply,
    Message,
    PeerError,
    ReadIndex,
    ReadIndexReply,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from .newborn import (
    begin,
    begin_to_look,
    explain_silence,
    is_news,
    look_for_history,
)
from .node_view import NodeView
from .reads import (
    ask_leader,
    confirm,
    on_read_index,
    on_read_index_reply,
    open_round,
    read,
    send_question,
    serve_applied,
)
from .reconfiguration import (
    advance_change,
    append_fence,
    begin_change,
    say_if_removed,
)
from .recovering import assign_fences, leader_heard_recovering, mark_readmitted
from .replication import (
    advance_commit,
    on_append_accepted,
    on_append_rejected,
    propose,
    send_entries_to_all,
    send_heartbeat,
    send_heartbeats,
    send_notices,
)
from .roles import Leading
from .snapshot import (
    check_snapshot,
    compact,
    install,
    on_held,
    on_install_snapshot,
    refuse,
    snapshot_gone,
    snapshot_taken,
)
from .state import Options, State
from .transfer import (
    advance_transfer,
    begin_transfer,
    check_disk,
    give_up_transfer,
    on_timeout_now,
)
from .upgrade import add_parts, note_build, renew_parts


class StepObserver(Protocol):
    """An observer of each step. It must not change anything or raise. The event is an Input, or the
    order of a program around the core."""

    def stepped(self, event: object, effects: Effects) -> None: ...
    def refused(self, message: Message, why: str) -> None: ...


class RawNode:
    """One server of the cluster as a pure state machine.

    The same state and the same input give the same Effects. The caller carries out each Effects in
    order (see `Effects`) and reports with `Synced` when entries have reached the disk. Times are
    milliseconds of any clock that never goes backwards.
    """

    def __init__(self, state: State) -> None:
        """Continue from a state, either of a start (`node_from_disk`) or from a recording."""
        self._state = state
        self.view = NodeView(state)
        self.observer: StepObserver | None = None

    def step(self, event: inputs.Input, now_ms: int) -> Effects:
        """Process one input; return its effects.

        Raises:
            PeerError, TransferRefused, BeginRefused: the input was refused; nothing was changed.
            SafetyError: an invariant broke, or this server can't do what the caller requests.
        """
        state = self._state
        state.now_ms = max(now_ms, state.now_ms)
        state.out = Effects()
        _RULES[type(event)](state, event)
        if type(event) not in _QUIET:
            advance(state)
        if self.observer is not None:
            self.observer.stepped(event, state.out)
        return state.out

    @property
    def wake_at_ms(self) -> int:
        """The time at which the next `Tick` is due."""
        state = self._state
        if state.applying < state.commit_index:
            return state.now_ms
        if (leading := state.leading) is not None:
            until_ms = min(leading.heartbeat_at_ms, leading.quorum_check_at_ms)
            if leading.transfer is not None:
                until_ms = min(until_ms, leading.transfer.until_ms)
            if leading.notice_at_ms:
                until_ms = min(until_ms, leading.notice_at_ms)
            return until_ms
        if state.forwarded_reads.asked:
            return min(state.election_at_ms, state.forwarded_reads.again_at_ms)
        return state.election_at_ms

    @property
    def takes_proposals(self) -> bool:
        """Whether this server leads and is not handing over the leadership."""
        leading = self._state.leading
        return leading is not None and leading.transfer is None

    def accepts(self, message: Message) -> bool:
        """Whether a message may be taken from its sender, as a first check."""
        state = self._state
        return listens_to(state, message) or is_news(state, message)

    def committed(self, first: int, count: int) -> list[Entry]:
        """Return at most `count` committed entries from `first` on, or none if the log in memory
        begins after `first`."""
        state = self._state
        last = min(state.commit_index, first + count - 1)
        return [] if first <= state.log.base_index else state.log.entries(first, last)


def node_from_disk(
    name: str,
    members: Membership,
    log: Log,
    hard_state: HardState,
    options: Options,
    pick_timeout_ms: Callable[[], int],
    now_ms: int,
    *,
    recovering: bool = False,
    newborn: bool = False,
    may_be_new: bool = False,
    differs: int = 0,
    received_index: int = 0,
    incarnation: int = 1,
    snapshot: Snapshot | None = None,
    base_cluster: str = "",
    cluster: str = "",
    needs: str = "",
) -> RawNode:
    """Return a server that starts with the state on its disk. `members`, `base_cluster` and
    `needs` are the values at the base of its log; `cluster` is the identity that it knows.
    `differs` and `received_index` are as on its disk (raft/agreement.py)."""
    if log.last_term > hard_state.term:
        raise SafetyError(f"{name} is in term {hard_state.term}, its log in {log.last_term}")
    # A promise from before the stop is kept, even if the server now runs with other options.
    promised_until_ms = now_ms + hard_state.lease_ms if hard_state.lease_ms else 0
    state = State(
        name,
        Configurations(log.base_index, members, log.commands),
        log,
        hard_state.term,
        hard_state.vote,
        options,
        pick_timeout_ms,
        now_ms,
        recovering=recovering,
        newborn=newborn,
        may_be_new=recovering and may_be_new,
        differs=differs,
        received_index=received_index,
        incarnation=incarnation,
        promised_until_ms=promised_until_ms,
        lease_ms=hard_state.lease_ms,
        commit_index=log.base_index,
        applying=log.base_index,
        applied=log.base_index,
        durable_index=log.last_index,
        snapshot=snapshot,
        identity=ClusterIdentity(log.base_index, base_cluster, log.commands, needs),
        cluster=cluster or base_cluster,
    )
    begin_to_look(state)
    state.arm_election()
    arm_first_election(state)
    return RawNode(state)


def advance(state: State) -> None:
    """Do the work that the input has made possible: commit, apply, serve reads.

    Each feature with work in progress also gets its turn here; the state shows which, so that no
    rule has to ask (docs/develop/architecture.md, "A step").
    """
    if state.leading is not None:
        if state.commit_index < state.durable_index:  # otherwise only answers commit
            advance_commit(state)
        if state.is_changing_members:
            advance_change(state)
    lags = state.leading is not None and state.identity.needs.latest != state.own_needs
    if lags and renew_parts(state):  # unless it has just stepped down
        send_entries_to_all(state)
    if state.applying < state.commit_index:
        state.hand_out_committed()
    if state.applied < state.commit_index and not state.apply_since_ms:
        state.apply_since_ms = state.due_since_ms = state.now_ms
        state.due_index = state.commit_index
    if state.name not in state.configurations.latest.voters:
        say_if_removed(state)
    leading = state.leading
    if leading is not None and (
        leading.read_rounds
        or leading.reads_waiting
        or leading.has_uncounted
        or leading.transfer
        or leading.awaits_verdict
    ):
        _confirm(state, leading)
    if state.confirmed_reads:
        serve_applied(state)


def _confirm(state: State, leading: Leading) -> None:
    """Do the work, other than commits, that answers of followers have made possible."""
    if leading.read_rounds:
        confirm(state)
    if leading.has_uncounted:
        if assign_fences(state):
            append_fence(state)
        if mark_readmitted(state):
            send_heartbeats(state)
    if leading.reads_waiting:
        open_round(state)
    if leading.transfer is not None:
        advance_transfer(state)
    if leading.awaits_verdict and state.leading is leading:
        judge(state)


def _synced(state: State, event: inputs.Synced) -> None:
    """Record the synced entry. A late report of an entry that has since been cut is recognized by
    its term and ignored: two logs with the same index and term are equal up to there (Log Matching,
    §5.3)."""
    if state.log.term_at(event.index) == event.term:
        state.durable_index = max(state.durable_index, event.index)


def _applied(state: State, event: inputs.Applied) -> None:
    """Raise lastApplied (Figure 2, all servers), for which confirmed reads wait.

    As in etcd's log.go, entries up to `applying` are handed out, and entries up to `applied` are
    executed. Nothing is committed, sent or decided because of this report, so no other rule runs.
    """
    if not state.applied <= event.index <= state.applying:
        raise SafetyError(
            f"{state.name} reports entry {event.index} as applied, but had applied up to "
            f"{state.applied}, and {state.applying} is handed out"
        )
    note_applied(state, event.index)
    if event.chain is not None:
        note_chain(state, event.index, event.chain)
    if state.confirmed_reads:
        serve_applied(state)


def _pass_time(state: State, event: inputs.Tick) -> None:
    if state.transfer is not None and state.now_ms >= state.transfer.until_ms:
        give_up_transfer(state)
    if state.forwarded_reads.asked and state.now_ms >= state.forwarded_reads.again_at_ms:
        send_question(state)
    if state.leading is not None:
        _check_leadership(state, state.leading)
    if state.leading is None:
        if state.now_ms >= state.election_at_ms:
            if (
                state.newborn
                or state.recovering
                or state.without_vote_now
                or state.no_leader_because
            ):
                explain_silence(state)
            on_silence(state)
        return
    if state.now_ms >= state.leading.heartbeat_at_ms:
        send_heartbeats(state)
    if 0 < state.leading.notice_at_ms <= state.now_ms:
        send_notices(state)


def _check_leadership(state: State, leading: Leading) -> None:
    """Give up the leadership if this server can't do what a leader does."""
    check_quorum(state)
    is_behind = state.durable_index < state.log.last_index
    if state.leading is leading and (is_behind or leading.disk_since_ms):
        check_disk(state)
    if state.leading is leading and state.apply_since_ms:
        check_applying(state)


def receive(state: State, event: inputs.Receive) -> None:
    """Process a message from a peer.

    Raises:
        PeerError: no server of a correct cluster sends this; nothing was changed.
    """
    message = event.message
    if not listens_to(state, message):
        if not is_news(state, message):
            raise PeerError(f"{message.sender} is not a peer of {state.name}")
        look_for_history(state, message)  # believed in this respect alone
        return
    if message.term > state.term and is_too_far(state, message):
        meet_far_term(state, message)
        return
    if message.term >= state.term and isinstance(message, FromLeader):
        check_leader(state, message)
        if isinstance(message, AppendEntries):
            check_append(state, message)
        else:
            check_snapshot(state, message)
    if state.newborn:
        look_for_history(state, message)
    if message.term > state.term:
        _adopt_term(state, message)
    if message.term < state.term and isinstance(message, FromLeader):
        refuse_old_leader(state, message)
    elif not isinstance(message, FromFollower) or _hear_follower(state, message):
        _MESSAGE_RULES[type(message)](state, message)


def _disconnected(state: State, event: inputs.PeerDisconnected) -> None:
    on_disconnected(state, event.peer)
    if state.transfer is not None and state.transfer.to == event.peer:
        give_up_transfer(state)


def _need_parts(state: State, event: inputs.NeedParts) -> None:
    if add_parts(state, event.parts):
        send_entries_to_all(state)


def _peer_build(state: State, event: inputs.PeerBuild) -> None:
    """Record a peer's build. If that ends the leader's silence towards the peer, send to it at
    once."""
    may_hear = note_build(state, event)
    progress = state.progress.get(event.peer)
    if may_hear and progress is not None:
        send_heartbeat(state, event.peer, progress)


# These need only their own rule, without `advance`.
_QUIET: Final = (inputs.Applied, inputs.StateSummed, inputs.Compact, inputs.Stop)
_RULES: Final[dict[type[inputs.Input], Callable[[State, Any], None]]] = {
    inputs.Receive: receive,
    inputs.Synced: _synced,
    inputs.Applied: _applied,
    inputs.StateSummed: note_state_sum,
    inputs.Propose: lambda state, event: propose(state, event.commands),
    inputs.NeedParts: _need_parts,
    inputs.Read: lambda state, event: read(state, event.tokens, by_lease=event.by_lease),
    inputs.Tick: _pass_time,
    inputs.AskLeader: lambda state, event: ask_leader(state, event.tokens),
    inputs.PeerDisconnected: _disconnected,
    inputs.PeerBuild: _peer_build,
    inputs.ChangeMembers: lambda state, event: begin_change(state, event.change, event.token),
    inputs.Transfer: lambda state, event: begin_transfer(state, event.to),
    inputs.Begin: lambda state, event: begin(state, event.without),
    inputs.SnapshotTaken: lambda state, event: snapshot_taken(state, event.snapshot),
    inputs.SnapshotChecked: lambda state, event: install(
        state, event.snapshot, event.members, event.cluster, event.needs
    ),
    inputs.SnapshotRejected: lambda state, event: refuse(state, event.snapshot, event.why),
    inputs.SnapshotGone: lambda state, event: snapshot_gone(state, event.peer, event.snapshot),
    inputs.Compact: lambda state, event: compact(state, event.index),
    inputs.Stop: lambda state, event: state.stop(),
}


_MESSAGE_RULES: Final[dict[type[Message], Callable[[State, Any], None]]] = {
    AppendEntries: on_append_entries,
    AppendAccepted: on_append_accepted,
    AppendRejected: on_append_rejected,
    RequestVote: on_request_vote,
    RequestVoteReply: on_request_vote_reply,
    InstallSnapshot: on_install_snapshot,
    InstallSnapshotReply: on_held,
    TimeoutNow: on_timeout_now,
    ReadIndex: on_read_index,
    ReadIndexReply: on_read_index_reply,
}


def listens_to(state: State, message: Message) -> bool:
    """Whether a message may be accepted from its sender.

    Servers don't check their configuration to see who may lead (thesis §4.1). A server that was
    away while the members changed must accept a leader, and vote for a candidate, that it has never
    heard of. But in that case it hears from no leader that it knows, and the candidate has a more
    complete log; any other unknown server is refused. A newborn that knows members is not yet in
    a cluster that they could have left, so it listens only to them.

    A joiner knows no members yet, and may have heard from a candidate of a later term that was not
    elected. It answers a leader of an earlier term, which then stands in a term after the later
    one.
    """
    sender = message.sender
    if sender == state.name:
        return False
    members = state.configurations.latest
    if sender == state.leader or sender in members.voters:
        return True
    if members.has(sender) or sender in state.progress:
        return True
    if state.newborn and state.membership.names:
        return False
    if state.hears_from_leader or (message.term < state.term and state.membership.names):
        return False  # a stranger of an earlier term, or an old member of a recovered cluster
    if isinstance(message, RequestVote):
        log = state.log
        return (message.last_term, message.last_index) > (log.last_term, log.last_index)
    return isinstance(message, AppendEntries)


def _adopt_term(state: State, message: Message) -> None:
    """Become a follower in a higher term from any message (Figure 2, all servers).

    PreVote requests and grants name a term that no server has entered yet. A RequestVote that
    arrives while this server hears from a leader is ignored (thesis §4.2.3), unless that leader
    gave way: then it names the term right after this one (thesis §3.10).
    """
    if isinstance(message, RequestVote):
        is_transfer = message.transfer and message.term == state.term + 1
        if message.pre_vote or (state.hears_from_leader and not is_transfer):
            return
    if isinstance(message, RequestVoteReply) and message.pre_vote and message.granted:
        return
    state.follow(message.term, None)


def _hear_follower(state: State, message: FromFollower) -> bool:
    """Record the facts of an answer that its rule does not count: that the follower is alive, its
    promise, and whether it lost its memory. Return False for an answer to an earlier leadership.

    The term is compared with the term of the request: answers of an earlier term never count
    (Students' Guide to Raft).
    """
    leading = state.leading
    if leading is None or message.term != state.term:
        return False
    if message.round > leading.round:
        raise PeerError(f"round {message.round} was never sent")
    if isinstance(message, AppendAccepted) and message.index > state.log.last_index:
        raise PeerError(f"{message.sender} can't hold entry {message.index}, I never sent it")
    progress = leading.progress.get(message.sender)
    if progress is None or message.round < progress.since_round:  # it was removed, and was told
        return False
    is_of_memory = message.without_vote or not progress.is_counted
    if is_of_memory and not leader_heard_recovering(state, progress, message):
        return False
    progress.heard_at_ms = state.now_ms
    progress.away = False
    if not isinstance(message, InstallSnapshotReply) and message.lease_ms:
        extend_lease(state, progress, message)
    progress.acked_round = max(progress.acked_round, message.round)
    return True
