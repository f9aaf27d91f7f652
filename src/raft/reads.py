"""ReadIndex: linearizable reads without an entry in the log (thesis §6.4).

At a follower: it asks its leader for the read index (thesis §6.4, end).

1. The follower sends `ReadIndex TERM round R` for all reads that wait; one question at a time.
2. The leader takes it as its own read: after a round (or under a lease) it answers
   `Read at index I`, where I was its commit index when it took the question.
3. The follower serves the reads once its own state machine has applied I. They are linearizable:
   I holds all that was committed when they came, and the state read is never older than I.

A question whose answer is not there after a heartbeat's time is sent once more under its number:
whichever answer comes first will do, as its reads had come before either. Under a new number, over
a network whose round trips take longer, each answer would be to a question before the last. Where
the leader changes the reads are given back. R is a number that the follower never used before,
also not before a restart: its clock, or one more than the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from raftline.raft.effects import ReadReady
from raftline.raft.election import NOOP
from raftline.raft.lease import holds_lease
from raftline.raft.messages import ReadIndex, ReadIndexReply
from raftline.raft.recovering import assign_fences, mark_readmitted
from raftline.raft.replication import propose, send_heartbeats
from raftline.raft.roles import PeerRead, ReadRound, Role
from raftline.raft.state import State

# --- at the leader --------------------------------------------------------------------------


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
    3. The round shows whether this server still leads (step 3).
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
    """Release the reads whose round a quorum answered, once the entries before them are handed out.

    Step 4 of thesis §6.4: the rim serves them when it has applied the read index. As rounds are
    released in order, a read never overtakes one that came before.
    """
    leading = state.as_leader
    confirmed = confirmed_round(state) if leading.read_rounds else 0
    while leading.read_rounds:
        waiting = leading.read_rounds[0]
        if waiting.round > confirmed or waiting.index > state.last_applied:
            break
        leading.read_rounds.popleft()
        for token in waiting.tokens:
            release(state, token, waiting.index)
    if any(not progress.is_counted for progress in leading.progress.values()):
        if assign_fences(state):
            propose(state, [NOOP])
        if mark_readmitted(state):
            send_heartbeats(state)
    if leading.reads_waiting:
        open_round(state)


def confirmed_round(state: State) -> int:
    """Return the latest round that a quorum answered, this server included."""
    leading = state.as_leader
    answered = {name: p.acked_round for name, p in leading.progress.items() if p.is_counted}
    answered[state.name] = leading.round
    return state.membership.reached_by_quorum(answered)


def release(state: State, token: Any, index: int) -> None:
    """The leader confirmed a read: serve it here, or answer the follower that asked."""
    if isinstance(token, PeerRead):
        state.send(ReadIndexReply(state.name, token.follower, token.term, index, token.round))
    else:
        state.out.reads.append(ReadReady(token, index))


# --- at a follower --------------------------------------------------------------------------


def ask_leader(state: State, tokens: Sequence[Any]) -> None:
    """Serve reads at this follower once the leader has answered from which index on."""
    if state.role is not Role.FOLLOWER or state.leader is None:
        state.out.refused += tokens
        return
    state.forwarded_reads.waiting += tokens
    if not state.forwarded_reads.asked:
        ask(state)


def ask(state: State) -> None:
    """Ask for all reads that wait."""
    forwarded = state.forwarded_reads
    forwarded.asked, forwarded.waiting = forwarded.waiting, []
    if forwarded.asked:
        forwarded.round = max(forwarded.round + 1, state.now_ms)
        send_question(state)


def send_question(state: State) -> None:
    """Send the question that is under way, for the first time or once more."""
    if state.leader is not None:
        forwarded = state.forwarded_reads
        forwarded.again_at_ms = state.now_ms + state.options.heartbeat_ms
        state.send(ReadIndex(state.name, state.leader, state.term, forwarded.round))


def on_read_index_reply(state: State, message: ReadIndexReply) -> None:
    """Let the reads of this question wait for the state machine alone; ask for the next ones.

    An answer to an earlier question, or of another leader, proves nothing about these reads.
    """
    forwarded = state.forwarded_reads
    current = message.term == state.term and message.sender == state.leader
    if not current or not forwarded.asked or message.round != forwarded.round:
        return
    forwarded.ready += [ReadReady(token, message.index) for token in forwarded.asked]
    forwarded.asked = []
    ask(state)


def serve_ready(state: State) -> None:
    """Serve the reads whose index the state machine has reached."""
    ready = state.forwarded_reads.ready
    if ready:
        state.out.reads += [one for one in ready if one.index <= state.last_applied]
        state.forwarded_reads.ready = [one for one in ready if one.index > state.last_applied]
