"""A server's consensus, whole: an input and the time go in, one Effects comes out.

Start reading here: `_RULES` names the rule for each input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from raftline.raft import inputs
from raftline.raft.effects import Effects, HardState, SafetyError
from raftline.raft.election import (
    NOOP,
    arm_first_election,
    check_quorum,
    on_disconnected,
    on_silence,
)
from raftline.raft.entries import Entry, Snapshot
from raftline.raft.levels import FIRST, Levels
from raftline.raft.log import Log
from raftline.raft.membership import Configurations, Membership
from raftline.raft.messages import Message
from raftline.raft.newborn import explain_silence
from raftline.raft.reads import ask_leader, confirm, open_round, read, send_question, serve_applied
from raftline.raft.receiving import listens_to, receive
from raftline.raft.reconfiguration import advance_change, begin_change, say_if_removed
from raftline.raft.recovering import assign_fences, mark_readmitted
from raftline.raft.replication import (
    advance_commit,
    propose,
    send_entries_to_all,
    send_heartbeat,
    send_heartbeats,
    send_notices,
)
from raftline.raft.roles import Leading
from raftline.raft.snapshot import compact, install, refuse, snapshot_gone, snapshot_taken
from raftline.raft.state import Options, State
from raftline.raft.transfer import (
    advance_transfer,
    begin_transfer,
    campaign,
    give_up_transfer,
    set_heartbeat,
    step_down,
)
from raftline.raft.upgrade import note_level, raise_level
from raftline.raft.view import NodeView


class StepObserver(Protocol):
    """The one who gets each step; it changes nothing, and raises nothing."""

    def stepped(self, event: inputs.Input, effects: Effects) -> None: ...
    def refused(self, message: Message, why: str) -> None: ...


class RawNode:
    """One server of the cluster as a pure state machine.

    The same state and the same input give the same Effects. Who calls carries each Effects out
    in order (see `Effects`) and reports with `Synced` when entries have reached the disk. Times
    are milliseconds of any clock that never goes back.
    """

    def __init__(self, state: State) -> None:
        """Go on from a state: that of a start (`node_from_disk`), or one of a recording."""
        self._state = state
        self.view = NodeView(state)
        self.observer: StepObserver | None = None

    def step(self, event: inputs.Input, now_ms: int) -> Effects:
        """Take one input; return what it asks for.

        Raises:
            PeerError, TransferRefused, OrderRefused: the input is refused; nothing was changed.
            SafetyError: an invariant broke, or the caller asks for what this server can't do.
        """
        state = self._state
        state.now_ms = max(now_ms, state.now_ms)
        state.out = Effects()
        _RULES[type(event)](state, event)
        if type(event) not in _QUIET:
            _advance(state)
        if self.observer is not None:
            self.observer.stepped(event, state.out)
        return state.out

    @property
    def wake_at_ms(self) -> int:
        """The time at which a `Tick` has something to do."""
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
        """Whether this server leads and does not give way to another."""
        leading = self._state.leading
        return leading is not None and leading.transfer is None

    def accepts(self, message: Message) -> bool:
        """Whether a message may be taken from its sender, as a first look."""
        return listens_to(self._state, message)

    def committed(self, first: int, count: int) -> list[Entry]:
        """Return at most `count` committed entries from `first` on; none if the log in memory
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
    incarnation: int = 1,
    snapshot: Snapshot | None = None,
    level: int = FIRST,
) -> RawNode:
    """Return a server that starts with what its disk holds; `members` and `level`: at the base of
    its log."""
    if log.last_term > hard_state.term:
        raise SafetyError(f"{name} is in term {hard_state.term}, its log in {log.last_term}")
    # What it may have promised before it stopped is kept, be it started otherwise now.
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
        incarnation=incarnation,
        promised_until_ms=promised_until_ms,
        lease_ms=hard_state.lease_ms,
        commit_index=log.base_index,
        applying=log.base_index,
        applied=log.base_index,
        durable_index=log.last_index,
        snapshot=snapshot,
        levels=Levels(log.base_index, level, log.commands),
    )
    state.arm_election()
    arm_first_election(state)
    return RawNode(state)


def _advance(state: State) -> None:
    """Do what the input has made possible: commit, apply, serve reads.

    Here, too, each feature that has something under way gets its turn; the state shows which, so
    that no rule asks them (docs/develop/architecture.md, "A step").
    """
    if state.leading is not None:
        advance_commit(state)
        if state.is_changing_members:
            advance_change(state)
    is_below = state.levels.latest < state.options.level
    if state.leading is not None and is_below and raise_level(state):
        send_entries_to_all(state)
    state.hand_out_committed()
    if not state.is_member:
        say_if_removed(state)
    if state.leading is not None:
        _confirm(state, state.leading)
    if state.confirmed_reads:
        serve_applied(state)


def _confirm(state: State, leading: Leading) -> None:
    """Do what answers of followers have made possible beside a commit."""
    if leading.read_rounds:
        confirm(state)
    if leading.has_uncounted:
        if assign_fences(state):
            propose(state, [NOOP])
        if mark_readmitted(state):
            send_heartbeats(state)
    if leading.reads_waiting:
        open_round(state)
    if leading.transfer is not None:
        advance_transfer(state)


def _synced(state: State, event: inputs.Synced) -> None:
    """A late report of an entry that has since been cut is known by its term and ignored: two
    logs that hold the same index and term are equal up to there (Log Matching, §5.3)."""
    if state.log.term_at(event.index) == event.term:
        state.durable_index = max(state.durable_index, event.index)


def _applied(state: State, event: inputs.Applied) -> None:
    """Raise lastApplied (Figure 2, all servers), which the reads that were confirmed wait for.

    As in etcd's log.go: `applying` is handed out, `applied` is done. Nothing is committed, sent or
    decided by what is applied here, so no other rule runs.
    """
    if not state.applied <= event.index <= state.applying:
        raise SafetyError(
            f"{state.name} is to have applied entry {event.index}, but had applied up to "
            f"{state.applied}, and {state.applying} is handed out"
        )
    state.applied = event.index
    if state.confirmed_reads:
        serve_applied(state)


def _pass_time(state: State) -> None:
    if state.transfer is not None and state.now_ms >= state.transfer.until_ms:
        give_up_transfer(state)
    if state.forwarded_reads.asked and state.now_ms >= state.forwarded_reads.again_at_ms:
        send_question(state)
    if state.leading is not None:
        check_quorum(state)
    if state.leading is None:
        if state.now_ms >= state.election_at_ms:
            if state.recovering or state.without_vote_now or state.no_leader_because:
                explain_silence(state)
            on_silence(state)
    elif state.now_ms >= state.leading.heartbeat_at_ms:
        send_heartbeats(state)
    elif 0 < state.leading.notice_at_ms <= state.now_ms:
        send_notices(state)


def _disconnected(state: State, event: inputs.PeerDisconnected) -> None:
    on_disconnected(state, event.peer)
    if state.transfer is not None and state.transfer.to == event.peer:
        give_up_transfer(state)


def _peer_level(state: State, event: inputs.PeerLevel) -> None:
    """Record a peer's level; the leader speaks at once to whom it had to be silent."""
    may_hear = note_level(state, event.peer, event.level)
    progress = state.progress.get(event.peer)
    if may_hear and progress is not None:
        send_heartbeat(state, event.peer, progress)


# These make nothing possible but what their own rule does.
_QUIET: Final = (inputs.Applied, inputs.Compact, inputs.Stop)
_RULES: Final[dict[type[inputs.Input], Callable[[State, Any], None]]] = {
    inputs.Receive: lambda state, event: receive(state, event.message),
    inputs.Synced: _synced,
    inputs.Applied: _applied,
    inputs.Propose: lambda state, event: propose(state, event.commands),
    inputs.Read: lambda state, event: read(state, event.tokens, by_lease=event.by_lease),
    inputs.Tick: lambda state, event: _pass_time(state),
    inputs.AskLeader: lambda state, event: ask_leader(state, event.tokens),
    inputs.PeerDisconnected: _disconnected,
    inputs.PeerLevel: _peer_level,
    inputs.ChangeMembers: lambda state, event: begin_change(state, event.change, event.token),
    inputs.Transfer: lambda state, event: begin_transfer(state, event.to),
    inputs.SnapshotTaken: lambda state, event: snapshot_taken(state, event.snapshot),
    inputs.SnapshotChecked: lambda state, event: install(
        state, event.snapshot, event.members, event.level
    ),
    inputs.SnapshotRejected: lambda state, event: refuse(state, event.snapshot, event.why),
    inputs.SnapshotGone: lambda state, event: snapshot_gone(state, event.peer, event.snapshot),
    inputs.Compact: lambda state, event: compact(state, event.index),
    inputs.StepDown: lambda state, event: step_down(state),
    inputs.Campaign: lambda state, event: campaign(state),
    inputs.SetHeartbeat: lambda state, event: set_heartbeat(state, event.heartbeat_ms),
    inputs.Stop: lambda state, event: state.stop(),
}
