"""Whether the replicas agree: sums that each server reports, and a quarantine for one that differs.

Raft makes the logs equal, not the states: a state machine that is not deterministic, a flipped bit
in a snapshot, or an entry edited by hand gives a server another state, and nothing in the protocol
shows that. So the rim keeps two sums (storage/sums.py): the chain of all applied entries, and at
chosen indexes the sum of the state. `Applied` and `StateSummed` bring them here.

1. A follower's answer to a heartbeat ends in the sums of its last points: ` sum INDEX CHAIN` and
   ` state INDEX SUM`. Each answer repeats them, so that a lost one costs nothing.
2. The leader compares each with its own sum at the same index, if it still knows it. If they
   differ, it waits until a quorum agrees with one side, or for VERDICT_TIMEOUTS; longer, for
   another voter that answers, since each server sums its state at entries of its own choice. If
   the servers that differ are a quorum, it is the leader's own state that is wrong.
3. The leader's AppendEntries to a server that differs end in ` you differ INDEX entries CHAIN` or
   ` you differ INDEX state SUM`. The server compares that with its own sum, so that a late message
   about a state that was replaced changes nothing.
4. The server, or the leader that is wrong itself, is then in quarantine: it serves no reads, and is
   without a vote like a server that lost its memory (recovering.py). It does not regain its vote
   before its state was replaced: by a snapshot, or at its next start, which keeps its log and its
   snapshot aside and begins with nothing. Its answers end in ` differs INDEX`.

A server in quarantine keeps its promises: it holds its log, and gives no vote. After its state was
replaced, it is a server that lost its memory, and recovering.py says why its return is safe.
"""

from __future__ import annotations

from typing import Final

from .inputs import StateSummed
from .levels import FLOOR
from .messages import AppendEntries, Difference, SumKind, Sums
from .progress import Progress
from .recovering import stop_counting
from .state import State

POINTS_MAX: Final = 1024  # remembered chains, each at the end of entries that were applied together
STATE_SUMS_MAX: Final = 16
# Election timeouts until the leader's state counts: for voters that are away or behind, and for
# those that answer, but have not yet summed their states at an entry of the leader's.
VERDICT_TIMEOUTS: Final = 20
HEARD_VERDICT_TIMEOUTS: Final = 10 * VERDICT_TIMEOUTS
_NO_SUM: Final = StateSummed(0, 0)
_CURE: Final = (
    "Restart {}: it keeps its files aside and gets the state again from the others (docs/repair.md)"
)
_WHAT: Final = {
    SumKind.ENTRIES: "the entries that it applied up to entry {} are not the same",
    SumKind.STATE: "its state after entry {} is not the same",
}


def note_chain(state: State, index: int, chain: int) -> None:
    """Remember the chain of the entries that this server has applied."""
    points = state.points
    points[index] = chain
    if len(points) > POINTS_MAX:
        del points[next(iter(points))]


def note_state_sum(state: State, summed: StateSummed) -> None:
    """Remember the sum of this server's state after an entry, unless a snapshot replaced it."""
    if summed.index < state.log.base_index:
        return
    sums = state.state_sums
    sums[summed.index] = summed
    if len(sums) > STATE_SUMS_MAX:
        del sums[next(iter(sums))]


def forget_sums(state: State) -> None:
    """Forget the sums of a state that was replaced, and end the quarantine. The server has no vote
    until it has caught up."""
    state.points.clear()
    state.state_sums.clear()
    if state.differs:
        state.differs = 0
        state.out.forgot = True
        state.note(f"[*] The state of {state.name} was replaced: it no longer differs")


def own_sums(state: State) -> Sums | None:
    """Return this server's last sums, for an answer to its leader. At the floor, the leader may be
    another implementation, which does not know them."""
    index = state.applied
    chain = state.points.get(index)
    if chain is None or state.levels.latest <= FLOOR:
        return None
    last = next(reversed(state.state_sums.values()), _NO_SUM)
    return Sums(index, chain, last.index, last.sum, state.differs)


# --- the leader ------------------------------------------------------------------------------


def compare(state: State, name: str, sums: Sums) -> None:
    """Compare a follower's sums with this leader's own; if they differ, `judge` comes next."""
    progress = state.progress[name]
    progress.reported_difference = sums.differs
    found = _difference(state, progress, sums)
    if sums.differs:
        return  # it knows
    if found is None:
        is_past = progress.difference is not None and progress.difference.index <= sums.index
        if progress.is_told and is_past and sums.index in state.points:
            progress.difference, progress.is_told = None, False  # its state was replaced
    elif progress.difference is None:
        progress.difference, progress.differs_since_ms = found, state.now_ms
        state.as_leader.awaits_verdict = True


def _difference(state: State, progress: Progress, sums: Sums) -> Difference | None:
    """Return the first difference from this leader's own sums, and note where they are equal."""
    chain = state.points.get(sums.index)
    if chain is not None:
        if chain != sums.chain:
            return Difference(sums.index, SumKind.ENTRIES, chain)
        progress.agreed_index = max(progress.agreed_index, sums.index)
    own = state.state_sums.get(sums.state_index)
    if own is not None:
        if own.sum != sums.state:
            return Difference(sums.state_index, SumKind.STATE, own.sum)
        progress.agreed_state_index = max(progress.agreed_state_index, sums.state_index)
    return None


def judge(state: State) -> None:
    """Tell the followers that differ, or step down if this leader does, once the others have
    reported."""
    leading = state.as_leader
    found = {
        name: progress
        for name, progress in leading.progress.items()
        if progress.difference is not None and not progress.is_told
    }
    leading.awaits_verdict = bool(found)
    if not found or _may_wait(state, found):
        return
    leading.awaits_verdict = False
    if state.membership.is_quorum(found):
        differences = [each.difference.index for each in found.values() if each.difference]
        _leave_as_different(state, min(differences), " ".join(found))
        return
    for name, progress in found.items():
        _report(state, name, progress)


def _may_wait(state: State, found: dict[str, Progress]) -> bool:
    """Whether the reports of other voters are due that decide which side is wrong."""
    wanted = [each.difference for each in found.values() if each.difference is not None]
    others = {name: each for name, each in state.progress.items() if name not in found}
    agreeing = [
        name
        for name, other in others.items()
        if False not in [_agrees(other, difference) for difference in wanted]
    ]
    members = state.membership
    if members.is_quorum(found) or members.is_quorum([state.name, *agreeing]):
        return False
    due = [
        other
        for name, other in others.items()
        if name in members.electors and name not in agreeing and other.is_counted
    ]
    timeout_ms = state.options.election_timeout_ms
    are_heard = True in [
        other.agreed_index > 0 and state.now_ms < other.heard_at_ms + timeout_ms for other in due
    ]
    timeouts = HEARD_VERDICT_TIMEOUTS if are_heard else VERDICT_TIMEOUTS
    since_ms = min([each.differs_since_ms for each in found.values()])
    return due != [] and state.now_ms < since_ms + timeouts * timeout_ms


def _agrees(progress: Progress, difference: Difference) -> bool:
    is_state = difference.kind is SumKind.STATE
    agreed = progress.agreed_state_index if is_state else progress.agreed_index
    return agreed >= difference.index


def _report(state: State, name: str, progress: Progress) -> None:
    difference = progress.difference
    if difference is None:
        return
    progress.is_told = True
    what = _WHAT[difference.kind].format(difference.index)
    state.note(
        f"[!] {name} differs from {state.name}: {what}. It has no vote and serves no reads. "
        f"{_CURE.format(name)}"
    )
    stop_counting(state, name, progress)


def _leave_as_different(state: State, index: int, names: str) -> None:
    """Step down, since a quorum has another state."""
    state.note(
        f"[!] {state.name} differs from {names}, which are a quorum, at entry {index}: it steps "
        f"down, has no vote and serves no reads. {_CURE.format(state.name)}"
    )
    state.follow(state.term, None)
    _quarantine(state, index)


# --- the server that differs -----------------------------------------------------------------


def hear_of_difference(state: State, message: AppendEntries) -> None:
    """Go into quarantine if the leader's sum proves that this server's state differs."""
    difference = message.differs
    if difference is None or state.differs:
        return
    own = state.points.get(difference.index)
    if difference.kind is SumKind.STATE:
        summed = state.state_sums.get(difference.index)
        own = summed.sum if summed is not None else None
    if own is None or own == difference.sum:
        return
    what = _WHAT[difference.kind].format(difference.index)
    state.note(
        f"[!] {state.name} differs from its leader {message.sender}: {what}. It has no vote and "
        f"serves no reads. {_CURE.format(state.name)}"
    )
    _quarantine(state, difference.index)


def _quarantine(state: State, index: int) -> None:
    """Serve nobody and have no vote; that is on disk before any answer shows it."""
    state.differs = state.out.differs = index
    state.recovering, state.may_be_new, state.newborn = True, False, False
    state.stop()
