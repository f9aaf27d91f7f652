"""Reads at a follower: it asks its leader for the read index (thesis §6.4, end).

1. The follower sends `ReadIndex TERM round R` for all reads that wait; one question at a time.
2. The leader takes it as a read of its own: after a round (or under a lease) it answers
   `Read at index I`, where I was its commit index when it took the question.
3. The follower serves the reads once its own state machine has applied I. They are linearizable:
   I holds all that was committed when they came, and the state read is never older than I.

A question or an answer that is lost is asked again after a heartbeat's time; where the leader
changes the reads are given back. R is a number that the follower never used before, also not
before a restart: its clock, or one more than the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from raftline.raft.effects import ReadReady
from raftline.raft.questions import ReadAt, ReadIndex
from raftline.raft.state import PeerRead, Role, State


def ask_leader(state: State, tokens: Sequence[Any]) -> None:
    """Serve reads at this follower once the leader has said from which index on."""
    if state.role is not Role.FOLLOWER or state.leader is None:
        state.out.refused += tokens
        return
    state.asking.waiting += tokens
    if not state.asking.asked:
        ask(state)


def ask(state: State) -> None:
    """Ask for all reads that wait, also those of a question that nobody answered."""
    asking = state.asking
    asking.asked += asking.waiting
    asking.waiting = []
    if not asking.asked or state.leader is None:
        return
    asking.round = max(asking.round + 1, state.now_ms)
    asking.again_at_ms = state.now_ms + state.options.heartbeat_ms
    state.send(ReadIndex(state.name, state.leader, state.term, asking.round))


def on_read_at(state: State, message: ReadAt) -> None:
    """Let the reads of this question wait for the state machine alone; ask for the next ones.

    An answer to an earlier question, or of another leader, says nothing about these reads.
    """
    asking = state.asking
    current = message.term == state.term and message.sender == state.leader
    if not current or not asking.asked or message.round != asking.round:
        return
    asking.ready += [ReadReady(token, message.index) for token in asking.asked]
    asking.asked = []
    ask(state)


def serve_ready(state: State) -> None:
    """Serve the reads whose index the state machine has reached."""
    ready = state.asking.ready
    if ready:
        state.out.reads += [one for one in ready if one.index <= state.last_applied]
        state.asking.ready = [one for one in ready if one.index > state.last_applied]


def release(state: State, token: Any, index: int) -> None:
    """The leader confirmed a read: serve it here, or tell the follower that asked."""
    if isinstance(token, PeerRead):
        state.send(ReadAt(state.name, token.follower, index, token.term, token.round))
    else:
        state.out.reads.append(ReadReady(token, index))
