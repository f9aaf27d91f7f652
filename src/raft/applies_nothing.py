"""A server that applies nothing: its state machine hangs, or the thread that runs it is gone.

Heartbeats prove a process, and `Synced` proves a disk. `Applied` alone proves that requests are
answered: a leader that commits and applies nothing keeps its leadership, and serves nobody. etcd's
`/health` shows that by a linearizable read, which waits for the applied entries.

Committed entries that wait for `DISK_TIMEOUTS` election timeouts without one being applied are a
trouble; each one that is applied begins the time again. A leader in this trouble hands over to a
follower that has applied more (`check_applying`). Without one it stays, since an entry may take
that long on every server. Followers report what they applied with their sums (raft/agreement.py);
at the floor they don't, so a leader stays there.

A server that applies all the time may still be late, as after a restart with a long log: an entry
waits for more than `LATE_TIMEOUTS` election timeouts. It lets the others stand first, and a
transfer goes to another one.
"""

from __future__ import annotations

from contextlib import suppress

from .state import State
from .transfer import TransferRefused, begin_transfer, why_unfit


def note_applied(state: State, index: int) -> None:
    """Record the last applied entry, and restart the time of the next one. Once all that was due is
    applied, restart that of all that is committed by now."""
    if index >= state.commit_index:
        state.apply_since_ms = state.due_since_ms = 0
    elif index > state.applied:
        state.apply_since_ms = state.now_ms
        if index >= state.due_index:
            state.due_index, state.due_since_ms = state.commit_index, state.now_ms
    state.applied = index


def check_applying(state: State) -> None:
    """Give up the leadership if committed entries have waited too long for this leader's state
    machine, and a follower has applied some of them.

    As with a hung disk, the leader tries a transfer for an election timeout, then it steps down. It
    stands later than the others then (`State.arm_election`).
    """
    leading = state.as_leader
    if not state.applies_nothing(state.now_ms) or leading.transfer is not None:
        return
    fit = {
        name: progress.match_index
        for name, progress in leading.progress.items()
        if progress.applied_index > state.applied and why_unfit(state, name) is None
    }
    if not fit:
        return
    if not leading.applier_gives_way:
        leading.applier_gives_way = True
        waits_ms = state.apply_waits_ms(state.now_ms)
        state.note(
            f"[!] {state.name} has not applied entry {state.applied + 1} for {waits_ms:,} ms: it "
            "gives the leadership up. Its state machine hangs or is much too slow; restart it"
        )
        with suppress(TransferRefused):
            begin_transfer(state, max(fit, key=fit.__getitem__))
            return
    state.follow(state.term, None)
