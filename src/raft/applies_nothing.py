"""A server that applies nothing: its state machine hangs, or the thread that runs it is gone.

Heartbeats prove a process, and `Synced` proves a disk. `Applied` alone proves that requests are
answered: a leader that commits and applies nothing keeps its leadership, and serves nobody. etcd's
`/health` shows that by a linearizable read, which waits for the applied entries.

Committed entries that wait for `DISK_TIMEOUTS` election timeouts without one being applied are a
trouble; each one that is applied begins the time again. A leader in this trouble hands over to a
follower that has applied more (`check_applying`). Without one it stays, since an entry may take
that long on every server. Followers report what they applied with their sums (raft/agreement.py);
at the floor they don't, so a leader stays there.
"""

from __future__ import annotations

from contextlib import suppress

from .state import State
from .transfer import TransferRefused, begin_transfer, why_unfit


def note_applied(state: State, index: int) -> None:
    """Record the last applied entry, and begin the time for the next one."""
    if index > state.applied or index >= state.commit_index:
        state.apply_since_ms = state.now_ms if index < state.commit_index else 0
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
