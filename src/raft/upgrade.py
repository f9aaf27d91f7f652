"""The first entry of a cluster, raising its level, and keeping entries from servers below it.

The first leader of a cluster begins its log with the entry that gives the cluster its identity and
the lowest level. The identity is the candidate that the leader's node drew at its start. So no
entry of a client is ever in a log without an identity, and a quorum of servers is enough for
everything.

The leader raises the level to N once every member that was ever heard, including learners, has
announced N or more, and so has a quorum (docs/operate/upgrades.md). Three rules make this safe:

1. An entry of level N follows `level N` in every log that holds it (Log Matching, §5.3). So a
   server that executes it has already applied the level.
2. When `level N` is appended, a quorum has announced N on an open connection. A server that is to
   be added later is refused if it announced a lower level.
3. A member may run an older build all the same: one that was not heard yet, or one that was
   downgraded since. So once `level N` is in its log, a leader sends its log only to servers that
   have announced N since they last connected. It sends nothing to any other server: that server
   applies nothing, and can't win an election without the committed entry (§5.4.1).

A member that was never up can hold no entry of a lower level, so nothing waits for it, except that
a new leader gives each member some time to be heard.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..common.extensions import KERNEL
from .change import Change, ChangeRefused
from .levels import (
    FLOOR,
    LOWEST,
    NOT_HEARD,
    is_foreign,
    lacking,
    level_command,
    name_of_part,
    why_lacking,
    with_parts,
)
from .log import Entry
from .state import State

NOOP: Final = "noop"
PATIENCE: Final = 10  # election timeouts for which a new leader waits for members not heard yet


def first_command(state: State) -> str:
    """Return the first entry of a new leader: the identity of the cluster if its log has none, else
    a no-op. At the floor no log has an identity."""
    if not _begins_log(state):
        return NOOP
    return level_command(LOWEST, state.options.cluster_if_new, _own_kernel(state))


def _begins_log(state: State) -> bool:
    options = state.options
    is_above = options.level > FLOOR and bool(options.cluster_if_new)
    return is_above and not state.levels.clusters.latest


def _own_kernel(state: State) -> str:
    return " ".join([each for each in state.options.own_parts if name_of_part(each) == KERNEL])


def may_begin_log(state: State) -> bool:
    """Whether a quorum has told that it applies the kernel that this server's first entry would
    name. The others would be sent nothing, so without a quorum that entry would stay in this log
    alone, and keep a build of the others' kernel from its files."""
    if not _begins_log(state):
        return True
    kernel, told = _own_kernel(state), state.peer_parts
    alike = [name for name in state.peers if not lacking(kernel, told.get(name, ()))]
    return state.membership.is_quorum([state.name, *alike])


def first_to_send(state: State) -> int:
    """Return the index from which a new leader sends its log: after its last entry (§5.3, end).

    If it does not know that the identity in its log is committed, it sends that entry again. A
    follower that is of another cluster must see it, and refuse: the two may hold different entries
    with the same index and term, so a later entry would seem to match.
    """
    clusters = state.levels.clusters
    is_sure = state.cluster or not clusters.latest
    return state.log.last_index + 1 if is_sure else clusters.index


def note_level(state: State, name: str, level: int, applies: frozenset[str]) -> bool:
    """Record the level and the parts that a server announced, NOT_HEARD when its connection broke;
    return whether this leader's silence towards it ends."""
    was_silent = not state.may_send(name)
    if level == NOT_HEARD:
        state.peer_levels.pop(name, None)
        return False
    state.peer_levels[name] = level
    state.heard_levels |= {name}
    state.peer_parts[name] = applies
    if name in state.membership.names:
        if level < state.levels.latest:
            _note_older(state, name, level)
        elif why := why_lacking(state.levels.needs.latest, applies):
            state.note(
                f"[!] {name} can't follow: entries of this cluster {why}. Until then {state.name} "
                "sends it nothing (docs/operate/upgrades.md)"
            )
        elif _begins_log(state) and lacking(_own_kernel(state), applies):
            state.note(
                f"[!] {name} has another kernel than {state.name}, which begins a log only with a "
                "quorum of its own: start one of them from the build of the others "
                "(docs/operate/upgrades.md)"
            )
    return was_silent and state.may_send(name)


def _note_older(state: State, name: str, level: int) -> None:
    runs, cure = f"runs a build of level {level}", f"Start {name} with a newer version"
    if level == FLOOR:
        runs = "announces no level"
        cure = (
            f"Start {name} with raftline and without --floor; if other implementations take part, "
            "begin a cluster whose nodes all have --floor"
        )
    state.note(
        f"[!] {name} {runs}, and this cluster is at level {state.levels.latest}: {state.name} "
        f"sends it nothing. {cure} (docs/operate/upgrades.md)"
    )


def raise_to_members(state: State) -> bool:
    """Append what all members have come to support; return whether an entry was appended."""
    is_below = state.levels.latest < state.options.level
    has_raised = is_below and _raise_level(state)
    return _renew_parts(state) or has_raised


def _raise_level(state: State) -> bool:
    """Append the highest level that all members have announced, if it is above the level of the
    log; return whether an entry was appended. In a joint configuration, the members of both halves
    count."""
    leading, cluster = state.as_leader, state.levels.clusters.latest
    if leading.transfer is not None or not cluster:
        return False  # a transfer appends nothing (thesis §3.10)
    announced, heard = state.peer_levels, state.heard_levels
    waits = state.now_ms < _patience_end(state)
    level = state.options.level
    for name in state.peers:
        if waits or name in heard:
            level = min(level, announced.get(name, NOT_HEARD))
    have = [name for name in state.peers if announced.get(name, NOT_HEARD) >= level]
    if level <= state.levels.latest or not state.membership.is_quorum([state.name, *have]):
        return False
    state.append([Entry(state.log.last_index + 1, state.term, level_command(level, cluster))])
    return True


def who_lacks(state: State, needed: Sequence[str]) -> tuple[str, str]:
    """Return a part of these, each `PART=DIGEST`, that entries of this leader must not need yet,
    and the member that keeps it from that; "" and "" if they may. At the floor nobody tells.

    A part that is in the log needs no word, since only members that apply it get that log. Further
    parts need the word of each member: the last one of a member that is silent. A member that never
    gave one keeps nothing back once a new leader has waited for it, if a quorum has given it.
    """
    waits = state.now_ms < _patience_end(state)
    told = {name: state.peer_parts[name] for name in state.peers if name in state.peer_parts}
    for each in further_parts(state, needed):
        lacks = [
            name for name in state.peers if each not in told.get(name, () if waits else [each])
        ]
        have = [name for name, parts in told.items() if each in parts]
        if not (lacks or state.membership.is_quorum([state.name, *have])):
            lacks = [name for name in state.peers if name not in told]
        if lacks:
            return each, lacks[0]
    return "", ""


def further_parts(state: State, needed: Sequence[str]) -> list[str]:
    """Return the parts of these that no entry may need before an entry says so."""
    levels = state.levels
    if not levels.clusters.latest or state.options.applies is None:
        return []
    named = levels.needs.latest.split()
    return [each for each in needed if each not in named]


def add_parts(state: State, needed: Sequence[str]) -> bool:
    """Append the entry after which entries may need these parts, unless they may already; return
    whether one was appended. The caller has asked `who_lacks`."""
    new = further_parts(state, needed)
    if new:
        levels = state.levels
        needs = with_parts(levels.needs.latest, new)
        command = level_command(max(levels.latest, LOWEST), levels.clusters.latest, needs)
        state.append([Entry(state.log.last_index + 1, state.term, command)])
    return bool(new)


def _renew_parts(state: State) -> bool:
    """Make entries need the parts that they need as this build applies them, once all members do,
    also those whose log came from a build that applied them alike, or named no kernel; return
    whether an entry was appended."""
    needs, own = state.levels.needs.latest, state.options.own_parts
    named = needs.split()
    parts = {KERNEL, *map(name_of_part, named)} if state.levels.clusters.latest else ()
    stale = [each for each in own if name_of_part(each) in parts and each not in named]
    if not stale:
        state.own_needs = needs
        return False
    if state.transfer is not None or any(
        each not in state.peer_parts.get(name, ()) for name in state.peers for each in stale
    ):
        return False
    return add_parts(state, stale)


def _patience_end(state: State) -> int:
    return state.as_leader.since_ms + PATIENCE * state.options.election_timeout_ms


def check_newcomer(state: State, change: Change) -> None:
    """Refuse to add a server below the level of the log, or a server of another cluster.

    A server whose level or parts are not known may be added, but gets no entries until it announces
    them.

    Raises:
        ChangeRefused: its build is too old, or its files belong to another cluster.
    """
    if is_foreign(state.cluster, change.cluster):
        raise ChangeRefused(
            f"{change.name} has files of another cluster, {change.cluster}: move them away, and "
            f"start {change.name} with --join"
        )
    level = change.level
    if level == NOT_HEARD:
        level = state.peer_levels.get(change.name, NOT_HEARD)
    applies = change.applies
    if applies is None:
        applies = state.peer_parts.get(change.name)
    if change.verb not in ("add", "replace", "promote"):
        return
    needs = state.levels.needs.latest
    if level > FLOOR and applies is not None and (why := why_lacking(needs, applies)):
        raise ChangeRefused(f"{change.name} can't follow: entries of this cluster {why}")
    if NOT_HEARD < level < state.levels.latest:
        runs = "announces no level" if level == FLOOR else f"runs a build of level {level}"
        raise ChangeRefused(
            f"{change.name} {runs}, and this cluster is at level {state.levels.latest}: start "
            f"{change.name} with a newer version"
        )
