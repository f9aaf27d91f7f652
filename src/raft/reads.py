"""ReadIndex: linearizable reads without an entry in the log (thesis §6.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from raftline.raft.amnesia import assign_fences, mark_readmitted
from raftline.raft.election import NOOP
from raftline.raft.follower_reads import release
from raftline.raft.lease import holds_lease
from raftline.raft.questions import ReadIndex
from raftline.raft.replication import propose, send_heartbeats
from raftline.raft.state import Role, State
from raftline.raft.waiting_reads import PeerRead, ReadRound


def read(state: State, tokens: Sequence[Any], *, by_lease: bool) -> None:
    """Serve the reads that `tokens` stand for once that is safe; refuse them if this server does
    not lead. Those that wait share one round of heartbeats.

    Under a lease they are served at once: a quorum has promised its votes (thesis §6.4.1). What
    was committed in this term before they came was applied before it was answered; so the state
    machine holds all that any client can know of.
    """
    if state.leading is None:
        state.out.refused += tokens
        return
    index = state.commit_index
    is_current = state.log.term_at(index) == state.term and state.last_applied == index
    if by_lease and is_current and holds_lease(state):
        for token in tokens:
            release(state, token, index)
    else:
        state.leading.reads_waiting += tokens
        open_round(state)


def on_read_index(state: State, message: ReadIndex) -> None:
    """Take a follower's question as a read; a server that does not lead its term can't answer."""
    if state.role is not Role.LEADER or message.term != state.term:
        state.note(
            f"[*] {state.name} ignored ReadIndex from {message.sender}: "
            f"it does not lead term {message.term}"
        )
        return
    read(state, [PeerRead(message.sender, message.term, message.round)], by_lease=True)


def open_round(state: State) -> None:
    """Begin to confirm the reads that wait.

    1. Only after an entry of this term is committed is the commit index known to be the
       cluster's (step 1 of thesis §6.4); until then they wait.
    2. The read index is the commit index now, before the round is sent (step 2).
    3. The round tells whether this server still leads (step 3).
    """
    leading = state.as_leader
    if not leading.reads_waiting or len(leading.read_rounds) >= state.options.read_rounds:
        return
    if state.log.term_at(state.commit_index) != state.term:
        return
    send_heartbeats(state)
    leading.read_rounds.append(ReadRound(leading.round, state.commit_index, leading.reads_waiting))
    leading.reads_waiting = []
    confirm(state)


def confirm(state: State) -> None:
    """Release the reads whose round a quorum answered, as far as the state machine has come.

    Step 4 of thesis §6.4: `last_applied` must have reached the read index. As rounds are
    released in order, a read never overtakes one that came before.
    """
    leading = state.as_leader
    confirmed = confirmed_round(state)
    while leading.read_rounds:
        waiting = leading.read_rounds[0]
        if waiting.round > confirmed or waiting.index > state.last_applied:
            break
        leading.read_rounds.popleft()
        for token in waiting.tokens:
            release(state, token, waiting.index)
    if assign_fences(state):
        propose(state, [NOOP])
    if mark_readmitted(state):
        send_heartbeats(state)
    open_round(state)


def confirmed_round(state: State) -> int:
    """Return the latest round that a quorum answered, this server included."""
    leading = state.as_leader
    answered = {name: p.acked_round for name, p in leading.progress.items() if p.is_counted}
    answered[state.name] = leading.round
    return state.membership.reached_by_quorum(answered)
