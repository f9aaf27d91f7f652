"""Reads at a follower: it asks its leader for the read index (thesis §6.4, end).

1. The follower sends `ReadIndex TERM round R` for all reads that wait; one question at a time.
2. The leader takes it as a read of its own: after a round (or under a lease) it answers
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
from raftline.raft.questions import ReadIndex, ReadIndexReply
from raftline.raft.state import Role, State
from raftline.raft.waiting_reads import PeerRead


def ask_leader(state: State, tokens: Sequence[Any]) -> None:
    """Serve reads at this follower once the leader has said from which index on."""
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

    An answer to an earlier question, or of another leader, says nothing about these reads.
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


def release(state: State, token: Any, index: int) -> None:
    """The leader confirmed a read: serve it here, or tell the follower that asked."""
    if isinstance(token, PeerRead):
        state.send(ReadIndexReply(state.name, token.follower, index, token.term, token.round))
    else:
        state.out.reads.append(ReadReady(token, index))
