"""A controller's orders to a server's consensus. Each order is safe.

For each does what chance, time and loss could bring about by themselves.
"""

from __future__ import annotations

from dataclasses import replace

from raftline.raft.election import start_election
from raftline.raft.roles import Role
from raftline.raft.state import State


class OrderRefused(Exception):
    """This server can't do that now; nothing was changed. The message says why."""


def step_down(state: State) -> None:
    """Be a follower, as a leader is that no quorum answers (thesis §6.2).

    Raises:
        OrderRefused: it is one already.
    """
    if state.role is Role.FOLLOWER:
        raise OrderRefused(f"{state.name} follows already, in term {state.term}")
    state.note(f"[*] {state.name} is told to follow")
    state.follow(state.term, None)
    state.arm_election()


def campaign(state: State) -> None:
    """Stand at once in a new term, as the paper's servers do at the end of a timeout (§5.2).

    No PreVote asks first, so a leader that works is deposed by the higher term. Those who hear
    from it still don't vote (thesis §4.2.3), nor do those who promised it their votes (lease):
    nor does this server, for itself, while its own is promised.

    Raises:
        OrderRefused: it has no vote, or has promised it.
    """
    if state.recovering:
        why = "may be new or may have lost everything" if state.may_be_new else "lost its memory"
        raise OrderRefused(f"{state.name} {why}, and catches up without a vote")
    if state.name not in state.membership.electors:
        raise OrderRefused(f"{state.name} has no vote, so it does not stand")
    left_ms = state.promised_until_ms - state.now_ms
    if left_ms > 0:
        raise OrderRefused(
            f"{state.name} has promised its vote to a leader for {left_ms} ms more, which reads "
            "under a lease rest on"
        )
    if state.role is Role.LEADER:
        state.follow(state.term, None)
    state.note(f"[*] {state.name} is told that its election timeout is over")
    newborn = state.newborn
    start_election(state)
    if newborn and state.role is Role.CANDIDATE:
        # No quorum has said yet that there is no history: it may have lost all its files.
        state.newborn, state.out.recovered = True, False


def set_heartbeat(state: State, heartbeat_ms: int) -> None:
    """Send heartbeats, as a leader, so many milliseconds apart; the next comes in so many."""
    state.options = replace(state.options, heartbeat_ms=heartbeat_ms)
    if state.leading is not None:
        state.leading.heartbeat_at_ms = state.now_ms + heartbeat_ms
