"""Leases: a leader that may serve reads without a round, while a quorum has promised its votes.

Thesis §6.4.1, made explicit on the wire. A server that runs with `Options.lease` ends each
answer to a leader in `lease MS`: for that time, counted from the arrival of the request, it votes
for no other server. It keeps that promise also if the leader's connection breaks, and after a
restart with any options. So before the first promise of a length leaves, that length is on its
disk. It goes with a later save of term and vote, once no promise runs and none is made any more.
Each start waits for the length on the disk. The leader counts each promise from
the moment in which it opened the round that was answered, which was before the question came,
and shortens it by `lease_drift_percent`. While a quorum's promises run, every later election
needs a vote that is promised, so nobody else leads.

What this assumes and nothing here can check: no follower's clock runs faster than the leader's
by more than that share. Beyond it a read may be stale. ReadIndex assumes nothing of clocks.

Three details that make it hold:
* Answers name for how long, so that servers with different timeouts make no difference.
* A leadership transfer (thesis §3.10) goes past every promise, by the leader's own leave. So once
  its TimeoutNow has left, however late it may arrive, the leader uses no lease in this term.
* A server without `Options.lease` promises nothing and is not counted.
"""

from __future__ import annotations

from bisect import bisect_right

from .messages import AppendAccepted, AppendRejected
from .progress import Progress
from .spelling import NUMBER_MAX
from .state import State


def promise(state: State) -> int:
    """Vote for no other server for an election timeout from now on; return that time."""
    length_ms = state.options.election_timeout_ms
    if state.recovering:
        return 0
    if state.lease_ms < length_ms:
        state.lease_ms = length_ms
        state.save(state.term, state.vote)
    state.promised_until_ms = max(state.promised_until_ms, state.now_ms + length_ms)
    return length_ms


def extend_lease(
    state: State, progress: Progress, message: AppendAccepted | AppendRejected
) -> None:
    """Count a follower's promise from the beginning of the round that it answers."""
    leading = state.as_leader
    place = bisect_right(leading.round_starts, (message.round, NUMBER_MAX)) - 1
    if place < 0:
        return
    length_ms = message.lease_ms * (100 - state.options.lease_drift_percent) // 100
    until_ms = leading.round_starts[place][1] + length_ms
    progress.lease_until_ms = max(progress.lease_until_ms, until_ms)


def lease_until_ms(state: State) -> int:
    """Return until when no quorum votes for anybody else; 0 if no lease can be used."""
    leading = state.leading
    if not state.options.lease or leading is None or leading.lease_is_over:
        return 0
    promised = {name: progress.lease_until_ms for name, progress in leading.progress.items()}
    promised[state.name] = NUMBER_MAX
    return state.membership.reached_by_quorum(promised)


def holds_lease(state: State) -> bool:
    """Whether this leader may serve reads now without asking anybody."""
    return state.now_ms < lease_until_ms(state)
