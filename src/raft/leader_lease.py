"""Leases: a leader may serve reads without a round while a quorum has promised its votes.

This is thesis §6.4.1, made explicit on the wire. A server that runs with `Options.lease` ends each
answer to a leader in `lease MS`: for that time, counted from the arrival of the request, it votes
for no other server. It keeps that promise even if the leader's connection breaks, and after a
restart with any options. So before the first promise of a given length is sent, that length is on
disk. A later save of term and vote removes it, once no promise is in force and the server makes no
new ones. Each start waits for the length on disk. The leader counts each promise from the moment at
which it opened the answered round, which was before the request arrived, and shortens the promise
by `lease_drift_percent`. While the promises of a quorum are in force, every later election needs a
promised vote, so no other server leads.

This module assumes, and cannot check, that no follower's clock runs faster than the leader's by
more than that percentage. Otherwise a read may be stale. ReadIndex assumes nothing about clocks.

Three details that make it hold:
* Each answer names its duration, so servers may have different timeouts.
* A leadership transfer (thesis §3.10) overrides every promise, with the leader's own consent. So
  once the leader has sent TimeoutNow, however late it may arrive, it uses no lease in this term.
* A server without `Options.lease` promises nothing and is not counted.
"""

from __future__ import annotations

from bisect import bisect_right

from ..common.text import NUMBER_MAX
from .messages import AppendAccepted, AppendRejected
from .progress import Progress
from .state import State


def promise(state: State) -> int:
    """Promise this server's vote for an election timeout from now on; return the duration."""
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
    """Extend the lease by a follower's promise, counted from the start of the answered round."""
    leading = state.as_leader
    place = bisect_right(leading.round_starts, (message.round, NUMBER_MAX)) - 1
    if place < 0:
        return
    length_ms = message.lease_ms * (100 - state.options.lease_drift_percent) // 100
    until_ms = leading.round_starts[place][1] + length_ms
    progress.lease_until_ms = max(progress.lease_until_ms, until_ms)


def lease_until_ms(state: State) -> int:
    """Return the time until which no quorum votes for another server; 0 without a usable lease."""
    leading = state.leading
    if not state.options.lease or leading is None or leading.lease_is_over:
        return 0
    promised = {name: progress.lease_until_ms for name, progress in leading.progress.items()}
    promised[state.name] = NUMBER_MAX
    return state.membership.reached_by_quorum(promised)


def holds_lease(state: State) -> bool:
    """Whether this leader may serve reads now without asking its followers."""
    return state.now_ms < lease_until_ms(state)
