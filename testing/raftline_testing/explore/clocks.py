"""Independent clocks: the times in a state of the core as the few facts that rules read from them.

In such a world no time passes between two steps, and each timer has the same distance in every
state. An event of the budget lets one timer of one server fire. So all orders of timers are
explored, however late or early one is, and states that differ in times alone are one.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

from raftline.raft.newborn import FOR_EVER, PATIENCE
from raftline.raft.state import State

T_MS = 500
HEARTBEAT_MS = 100
NOW_MS = 10_000  # in every state
# How long each timer waits until it fires; the first is that of a server that does not lead.
WAITS_MS = {
    "timeout": T_MS,
    "heartbeat": HEARTBEAT_MS,
    "alone": 3 * T_MS,
    "patience": (PATIENCE + 1) * T_MS,
}
# When each time is, relative to NOW_MS, unless it is 0 or None, which stay.
TIMES = {
    "election_at_ms": T_MS,
    "quorum_check_at_ms": T_MS,
    "heartbeat_at_ms": HEARTBEAT_MS,
    "notice_at_ms": HEARTBEAT_MS // 2,
    "leave_by_ms": 100 * T_MS,
    **dict.fromkeys(("since_ms", "disk_since_ms", "outrun_since_ms", "moved_at_ms"), 0),
    **dict.fromkeys(("apply_since_ms", "due_since_ms"), 0),
    "better_log_until_ms": T_MS,
    **dict.fromkeys(("began_ms", "round_began_ms", "held_since_ms"), 0),
}
HEARD = ("leader_heard_at_ms", "heard_at_ms")  # within an election timeout, or longer ago
# Of leases, transfers and reads, which need clocks that run; and numbers that are no times.
NOT_IN_USE = ("promised_until_ms", "lease_until_ms", "until_ms", "again_at_ms", "lease_ms")


def forget_times(state: State) -> None:
    """Replace all times by those that a state of the same facts has."""
    if state.looks_until_ms != FOR_EVER:
        looks = state.looks_until_ms > state.now_ms
        state.looks_until_ms = NOW_MS + PATIENCE * T_MS if looks else 0
    leading = state.leading
    parts: list[Any] = [state]
    if leading is not None:
        parts += [leading, leading.pending_change, *leading.progress.values()]
        parts += [progress.sending for progress in leading.progress.values()]
    for part in parts:
        kind: Any = type(part)
        for name in _times_of(kind):
            if value := getattr(part, name):
                setattr(part, name, _replaced(name, value - state.now_ms))
    state.now_ms = NOW_MS
    state.no_leader_because, state.no_leader_for, state.quick_retries_left = "", (), 0


def _replaced(name: str, since_ms: int) -> int:
    if name in HEARD:
        return NOW_MS if since_ms > -T_MS else NOW_MS - 2 * T_MS
    return NOW_MS + TIMES[name]


@cache
def _times_of(kind: Any) -> list[str]:
    names = [field.name for field in dataclasses.fields(kind)] if kind is not type(None) else []
    return [name for name in names if name in TIMES or name in HEARD]
