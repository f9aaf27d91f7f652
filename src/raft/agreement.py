"""Whether the replicas agree: sums that each server reports, and a quarantine for one that differs.

Raft makes the logs equal, not the states: a state machine that is not deterministic, a flipped bit
in a snapshot, or an entry edited by hand gives a server another state, and nothing in the protocol
shows that. So the rim keeps two sums (storage/sums.py): the chain of all applied entries, and at
chosen indexes the sum of the state. `Applied` and `StateSummed` bring them here.

1. A follower's answer to a heartbeat ends in the sums of its last points: ` sum INDEX CHAIN` and
   ` state INDEX SUM`. Each answer repeats them, so that a lost one costs nothing.
2. The leader compares each with its own sum at the same index, if it still knows it. If they
   differ, a quorum decides: a follower is wrong if the leader and enough others have equal sums,
   the leader is wrong if a quorum has one sum that is not the leader's. All of them answer, and
   have a vote: so those that are left after a verdict can elect a leader. Without such a quorum
   nobody loses a vote. The leader says who differs and who is missing, and waits, as etcd does
   (server/etcdserver/corrupt.go).
3. The leader's AppendEntries to a server that differs end in ` you differ INDEX entries CHAIN` or
   ` you differ INDEX state SUM`, of its latest report, until it answers that it differs. The server
   compares that with its own sum, so that a late message about a state that was replaced changes
   nothing.
4. The server, or the leader that is wrong itself, is then in quarantine: it serves no reads, and is
   without a vote like a server that lost its memory (recovering.py). It keeps its files, also over
   a start, and its answers end in ` differs INDEX`. Once the fence is committed without it, and it
   holds the log up to there, the leader's ` vote again` proves that a quorum holds all that the
   server ever acknowledged. From then on its next start begins with nothing. A snapshot of the
   leader replaces its state as well.

A server in quarantine keeps its promises: it holds its log, and gives no vote. After its state was
replaced, it is a server that lost its memory, and recovering.py says why its return is safe.

A state that came by a snapshot agrees with its sender's, whether that is right or not. So such a
server is not a witness about a difference that may be older than the snapshot: its answers end in
` snapshot INDEX` until all voters have had equal sums at that entry or later. Then whatever differs
afterwards began after the snapshot, and the leader's AppendEntries end in ` all agree INDEX`.
"""

from __future__ import annotations

from collections import defaultdict
from operator import itemgetter
from typing import Final

from .inputs import StateSummed
from .messages import AppendEntries, Difference, SumKind, Sums
from .progress import Comparison, Progress
from .recovering import stop_counting
from .state import State

POINTS_MAX: Final = 1024  # remembered chains, each at the end of entries that were applied together
STATE_SUMS_MAX: Final = 16
SAID_TIMEOUTS: Final = 4  # election timeouts until the console says that no quorum decides
_NO_SUM: Final = StateSummed(0, 0)
_CURE: Final = (
    "Restart {}: it keeps its files aside and gets the state again from the others (docs/repair.md)"
)
_WHAT: Final = {
    SumKind.ENTRIES: "the entries that it applied up to entry {} are not the same",
    SumKind.STATE: "its state after entry {} is not the same",
}
_BOTH: Final = {
    SumKind.ENTRIES: "the entries that they applied up to entry {} are not the same",
    SumKind.STATE: "their states after entry {} are not the same",
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
        state.differs, state.begins_again = 0, False
        state.out.forgot = True
        state.note(f"[*] The state of {state.name} was replaced: it no longer differs")


def own_sums(state: State) -> Sums | None:
    """Return this server's last sums, for an answer to its leader. At the floor, the leader may be
    another implementation, which does not know them."""
    index = state.applied
    chain = state.points.get(index)
    if chain is None or state.identity.is_at_floor:
        return None
    last = next(reversed(state.state_sums.values()), _NO_SUM)
    return Sums(index, chain, last.index, last.sum, state.differs, state.received_index)


# --- the leader ------------------------------------------------------------------------------


def compare(state: State, progress: Progress, sums: Sums) -> None:
    """Compare a follower's sums with this leader's own; if they differ, `judge` comes next.

    The difference is that of the latest report: the follower can check it, and one that is over is
    dropped."""
    progress.reported_difference, progress.received_index = sums.differs, sums.received
    progress.applied_index = sums.index
    if sums.differs:  # it knows
        progress.entries, progress.state, progress.is_told = Comparison(), Comparison(), False
        return
    chain, summed = state.points.get(sums.index), state.state_sums.get(sums.state_index)
    if chain is not None:
        theirs, mine = (sums.index, sums.chain), Difference(sums.index, SumKind.ENTRIES, chain)
        _note(state, progress.entries, theirs, mine)
    if summed is not None:
        theirs = (sums.state_index, sums.state)
        mine = Difference(sums.state_index, SumKind.STATE, summed.sum)
        _note(state, progress.state, theirs, mine)
    for known, index in ((progress.entries, sums.index), (progress.state, sums.state_index)):
        if known.latest is not None and index < known.latest.index:
            _forget(known)  # it had later sums, so it began again, from its files or a snapshot
    if progress.difference is None:
        progress.is_told = False
        if state.received_index:
            _hear_of_agreement(state, confirmed_index(state))
    elif not progress.is_told:
        state.as_leader.awaits_verdict = True


def _note(state: State, known: Comparison, theirs: tuple[int, int], mine: Difference) -> None:
    index, total = theirs
    if total == mine.sum:
        known.agreed_index = max(known.agreed_index, index)
        if known.latest is not None:
            _forget(known)
        return
    if known.latest is None:
        known.first_index, known.since_ms = index, state.now_ms
    known.latest = mine
    known.theirs[index] = total
    if len(known.theirs) > STATE_SUMS_MAX:
        del known.theirs[next(iter(known.theirs))]


def _forget(known: Comparison) -> None:
    """Drop a difference."""
    known.first_index, known.latest = 0, None
    known.theirs.clear()


def judge(state: State) -> None:
    """Tell the followers that differ, or step down if this leader does, once a quorum of sums says
    which of them is wrong."""
    leading = state.as_leader
    quorum = _other_quorum(state)
    if quorum is not None:
        leading.awaits_verdict = False
        _leave_as_different(state, *quorum)
        return
    undecided: dict[str, Progress] = {}
    for name, progress in leading.progress.items():
        if progress.difference is None or progress.is_told:
            continue
        if _is_heard(state, progress) and _is_refuted(state, progress):
            _report(state, name, progress, progress.difference)
        else:
            undecided[name] = progress
    leading.awaits_verdict = bool(undecided)
    _say_undecided(state, undecided)


def _is_heard(state: State, progress: Progress) -> bool:
    return state.now_ms < progress.heard_at_ms + state.options.election_timeout_ms


def _is_witness(state: State, progress: Progress) -> bool:
    """Whether a verdict may rely on a follower: after it, this vote is there for an election."""
    is_sound = progress.is_counted and not progress.reported_difference
    return is_sound and _is_heard(state, progress)


def _is_refuted(state: State, accused: Progress) -> bool:
    """Whether a quorum has the leader's sum where a follower has another."""
    return True in [
        state.membership.is_quorum(_with_own_sum(state, known, is_state=known is accused.state))
        for known in (accused.entries, accused.state)
        if known.latest is not None
    ]


def _with_own_sum(state: State, accused: Comparison, *, is_state: bool) -> list[str]:
    """Return the servers that have the leader's sum at the first entry of a difference or later,
    itself included. A state that came by a snapshot counts if the snapshot is of before the
    difference: the accused and the leader were equal then."""
    names = [state.name] if state.received_index <= accused.agreed_index else []
    for name, progress in state.progress.items():
        known = progress.state if is_state else progress.entries
        agrees = progress.difference is None and known.agreed_index >= accused.first_index
        is_own = progress.received_index <= accused.agreed_index
        if agrees and is_own and _is_witness(state, progress):
            names.append(name)
    return names


def _other_quorum(state: State) -> tuple[int, list[str]] | None:
    """Return an entry at which a quorum has one sum that is not the leader's, and its names. A
    state that came by a snapshot counts if it was equal to the leader's since then."""
    groups: dict[tuple[bool, int, int], list[str]] = defaultdict(list)
    for name, progress in state.progress.items():
        for known in (progress.entries, progress.state):
            is_own = progress.received_index <= known.agreed_index
            if known.theirs and is_own and _is_witness(state, progress):
                for index, total in known.theirs.items():
                    groups[known is progress.state, index, total].append(name)
    for (_, index, _), names in groups.items():
        if state.membership.is_quorum(names):
            return index, names
    return None


def _say_undecided(state: State, undecided: dict[str, Progress]) -> None:
    """Say once for each set of members that no quorum decides. `status` shows it all the time."""
    leading, names = state.as_leader, " ".join(undecided)
    if not undecided:
        leading.undecided = ""
        return
    waits_ms = SAID_TIMEOUTS * state.options.election_timeout_ms
    first, latest = min(
        [
            (known.since_ms, latest)
            for each in undecided.values()
            for known in (each.entries, each.state)
            if (latest := known.latest) is not None
        ],
        key=itemgetter(0),
    )
    if names == leading.undecided or state.now_ms < first + waits_ms:
        return
    leading.undecided = names
    missing = [
        name
        for name in state.membership.electors
        if name in state.progress and not _is_heard(state, state.progress[name])
    ]
    do = f"Start {' '.join(missing)}" if missing else "All voters answer: find out which is right"
    what = _BOTH[latest.kind].format(latest.index)
    state.note(
        f"[!] {names} and {state.name} differ: {what}. Nobody knows which is right, and nobody "
        f"loses a vote, until a quorum has equal sums. {do} (docs/repair.md)"
    )


def _report(state: State, name: str, progress: Progress, difference: Difference) -> None:
    """Tell a follower that it differs. Those that refuted it are a quorum with votes."""
    progress.is_told = True
    what = _WHAT[difference.kind].format(difference.index)
    state.note(
        f"[!] {name} differs from {state.name}: {what}. It has no vote and serves no reads. "
        f"{_CURE.format(name)}"
    )
    stop_counting(state, name, progress)


def _leave_as_different(state: State, index: int, names: list[str]) -> None:
    """Step down, since a quorum has another state, and its votes elect the next leader."""
    state.note(
        f"[!] {state.name} differs from {' '.join(names)}, which are a quorum, at entry {index}: "
        f"it steps down, has no vote and serves no reads. {_CURE.format(state.name)}"
    )
    state.follow(state.term, None)
    _quarantine(state, index)


def confirmed_index(state: State) -> int:
    """Return up to which entry all voters have had this leader's sums. A snapshot of before it gave
    nobody a state that only one side has."""
    leading, electors = state.as_leader, state.membership.electors
    others = [each for name, each in leading.progress.items() if name in electors]
    if True not in [each.difference is not None or each.reported_difference > 0 for each in others]:
        agreed = [min(each.entries.agreed_index, each.state.agreed_index) for each in others]
        leading.confirmed_index = max(leading.confirmed_index, min(agreed, default=state.applied))
    return leading.confirmed_index


# --- a follower ------------------------------------------------------------------------------


def hear_of_sums(state: State, message: AppendEntries) -> None:
    """Process what the leader says of this server's sums, or of its quarantine."""
    if message.differs is not None and not state.differs:
        _hear_of_difference(state, message, message.differs)
    elif state.differs and message.vote_again == state.incarnation:
        _hear_of_fence(state)
    _hear_of_agreement(state, message.agreed_index)


def _hear_of_agreement(state: State, index: int) -> None:
    """Count as a witness again once all voters have had equal sums since this server's snapshot."""
    if 0 < state.received_index <= index:
        state.received_index = state.out.received = 0


def _hear_of_difference(state: State, message: AppendEntries, difference: Difference) -> None:
    """Go into quarantine if the leader's sum proves that this server's state differs. The leader
    says so only with a quorum of other votes."""
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


def _hear_of_fence(state: State) -> None:
    """Make the next start of a server in quarantine begin empty: a quorum of others holds all
    that it acknowledged. It may not before: its log may be the only one with an entry, if those
    others are lost."""
    if not state.begins_again:
        state.begins_again = state.out.begins_again = True
        state.note(f"[*] The others hold all entries that {state.name} acknowledged: restart it")


def _quarantine(state: State, index: int) -> None:
    """Serve nobody and have no vote; that is on disk before any answer shows it."""
    state.differs = state.out.differs = index
    state.recovering, state.may_be_new, state.newborn = True, False, False
    state.stop()
