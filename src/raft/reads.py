"""ReadIndex: linearizable reads without an entry in the log (thesis §6.4).

A follower asks its leader for the read index (thesis §6.4, end).

1. The follower sends `ReadIndex TERM round R` for all waiting reads, one question at a time.
2. The leader treats it like its own read: after a round (or under a lease) it answers `Read at
   index I`, where I was its commit index when it received the question.
3. The follower serves the reads once its own state machine has applied I. They are linearizable:
   everything that was committed when the reads arrived is at or before I, and the state read is
   never older than I.

A question without an answer after a heartbeat interval is repeated under its number. The first
answer to either is valid, since the reads arrived before both. If the number changed, and round
trips took longer than the interval, each answer would belong to an earlier question. If the leader
changes, the reads are returned. R is a number that the follower never used before, not even before
a restart: its clock, or one more than the last number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .effects import ReadReady
from .leader_lease import holds_lease
from .messages import ReadIndex, ReadIndexReply
from .replication import send_heartbeats
from .roles import PeerRead, ReadRound, Role
from .state import State

# --- at the leader --------------------------------------------------------------------------


def read(state: State, tokens: Sequence[Any], *, by_lease: bool) -> None:
    """Serve the reads of these tokens once that is safe; refuse them if this server does not lead.
    Waiting reads share one round of heartbeats.

    Under a lease the reads are confirmed at once, with the commit index (thesis §6.4.1). The lease
    must be valid now, when the reads arrive, although they are served once that index is applied,
    which may be after the lease. Every write that was acknowledged before they arrived is at or
    before that index: no other server leads while a quorum has promised its votes, this leader had
    committed all that it acknowledged, and the entry at that index is of its term, so the commits
    of earlier leaders lie before it (Leader Completeness, §5.4.3). The state that is read is never
    older than the index. If it is newer, it holds only committed entries, so every later read has
    an index as high.
    """
    if state.leading is None:
        state.out.refused += tokens
        return
    index = state.commit_index
    if by_lease and state.log.term_at(index) == state.term and holds_lease(state):
        on_confirmed(state, tokens, index)
    else:
        state.leading.reads_waiting += tokens  # the round is opened at the end of this step


def on_read_index(state: State, message: ReadIndex) -> None:
    """Handle a follower's question as a read; only the leader of its term can answer."""
    if state.role is not Role.LEADER or message.term != state.term:
        state.note(
            f"[*] {state.name} ignored ReadIndex from {message.sender}: "
            f"it does not lead term {message.term}"
        )
        return
    read(state, [PeerRead(message.sender, message.term, message.round)], by_lease=True)


def open_round(state: State) -> None:
    """Begin confirming the waiting reads.

    1. Until an entry of this term is committed, this leader does not know the cluster's commit
       index (step 1 of thesis §6.4), and the reads wait.
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
    """Confirm the reads whose round a quorum answered (step 3 of thesis §6.4)."""
    leading = state.as_leader
    answered = confirmed_round(state) if leading.read_rounds else 0
    while leading.read_rounds and leading.read_rounds[0].round <= answered:
        waiting = leading.read_rounds.popleft()
        on_confirmed(state, waiting.tokens, waiting.index)


def confirmed_round(state: State) -> int:
    """Return the latest round that a quorum answered, this server included."""
    leading = state.as_leader
    answered = {name: p.acked_round for name, p in leading.progress.items() if p.is_counted}
    answered[state.name] = leading.round
    return state.membership.reached_by_quorum(answered)


def on_confirmed(state: State, tokens: Sequence[Any], index: int) -> None:
    """Handle confirmed reads: answer the followers that asked, and queue this server's own reads
    until `index` is applied. A follower waits for its own state machine, so its answer does not
    wait for this one.
    """
    for token in tokens:
        if isinstance(token, PeerRead):
            # Early: a quorum has committed that index, with or without this disk.
            state.send_early(
                ReadIndexReply(state.name, token.follower, token.term, index, token.round)
            )
        else:
            state.confirmed_reads.append(ReadReady(token, index))


# --- at a follower --------------------------------------------------------------------------


def ask_leader(state: State, tokens: Sequence[Any]) -> None:
    """Serve reads at this follower once the leader has answered with the read index."""
    if state.role is not Role.FOLLOWER or state.leader is None:
        state.out.refused += tokens
        return
    state.forwarded_reads.waiting += tokens
    if not state.forwarded_reads.asked:
        ask(state)


def ask(state: State) -> None:
    """Ask the leader on behalf of all waiting reads."""
    forwarded = state.forwarded_reads
    forwarded.asked, forwarded.waiting = forwarded.waiting, []
    if forwarded.asked:
        forwarded.round = max(forwarded.round + 1, state.now_ms)
        send_question(state)


def send_question(state: State) -> None:
    """Send the current question, for the first time or again."""
    if state.leader is not None:
        forwarded = state.forwarded_reads
        forwarded.again_at_ms = state.now_ms + state.options.heartbeat_ms
        state.send_past_entries(ReadIndex(state.name, state.leader, state.term, forwarded.round))


def on_read_index_reply(state: State, message: ReadIndexReply) -> None:
    """Queue the reads of this question until their index is applied; ask for the next ones.

    An answer to an earlier question, or from another leader, proves nothing about these reads.
    """
    forwarded = state.forwarded_reads
    current = message.term == state.term and message.sender == state.leader
    if not current or not forwarded.asked or message.round != forwarded.round:
        return
    state.confirmed_reads += [ReadReady(token, message.index) for token in forwarded.asked]
    forwarded.asked = []
    ask(state)


# --- at both --------------------------------------------------------------------------------


def serve_applied(state: State) -> None:
    """Serve the reads whose index the state machine has applied (step 4 of thesis §6.4), in the
    order in which they were confirmed."""
    waiting = state.confirmed_reads
    while waiting and waiting[0].index <= state.applied:
        state.out.reads.append(waiting.popleft())
