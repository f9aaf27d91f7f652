"""Raising the level of a cluster, and keeping entries of a level from servers below it.

The leader appends `level N` once every member, including learners, has announced N or more
(docs/operate/upgrades.md). The entry of level 4 gives the cluster its identity: the candidate that
the leader's node drew at its start. Three rules make this safe:

1. An entry of level N follows `level N` in every log that holds it (Log Matching, §5.3). So a
   server that executes it has already applied the level.
2. When `level N` is appended, each member has announced N on an open connection. A server that is
   to be added later is refused if it announced a lower level.
3. A member may be downgraded to an older build at any time after that. So once `level N` is in its
   log, a leader sends its log only to servers that have announced N since they last connected. It
   sends nothing to any other server: that server applies nothing, and can't win an election without
   the committed entry (§5.4.1).
"""

from __future__ import annotations

from .change import Change, ChangeRefused
from .levels import IDENTIFIED, LOWEST, is_foreign, spell
from .log import Entry
from .state import State


def note_level(state: State, name: str, level: int) -> bool:
    """Record the level that a server announced, 0 when its connection broke; return whether this
    leader's silence towards it ends."""
    was_silent = not state.may_send(name)
    if level:
        state.peer_levels[name] = level
    else:
        state.peer_levels.pop(name, None)
    if 0 < level < state.levels.latest and name in state.membership.names:
        state.note(
            f"[!] {name} runs a build of level {level}, and this cluster is at level "
            f"{state.levels.latest}: {state.name} sends it nothing. Start {name} with a newer "
            "version"
        )
    return was_silent and state.may_send(name)


def raise_level(state: State) -> bool:
    """Append the highest level that all members have announced, if it is above the level of the
    log, or the log lacks the identity; return whether an entry was appended. In a joint
    configuration the members of both halves must have announced it."""
    leading, levels = state.as_leader, state.levels
    if leading.transfer is not None:
        return False  # a transfer appends nothing (thesis §3.10)
    announced = [state.peer_levels.get(name, 0) for name in state.peers]
    level = min([state.options.level, *announced])
    cluster = levels.clusters.latest or state.options.cluster_if_new
    if not cluster:
        level = min(level, IDENTIFIED - 1)
    is_known = level < levels.latest or (level == levels.latest and not levels.lacks_cluster)
    if is_known or level < LOWEST:
        return False
    state.append([Entry(state.log.last_index + 1, state.term, spell(level, cluster))])
    return True


def check_newcomer(state: State, change: Change) -> None:
    """Refuse to add a server below the level of the log, or a server of another cluster.

    A server that has announced no level may be added, but gets no entries until it has.

    Raises:
        ChangeRefused: its build is too old, or its files belong to another cluster.
    """
    if is_foreign(state.cluster, change.cluster):
        raise ChangeRefused(
            f"{change.name} has files of another cluster, {change.cluster}: move them away, and "
            f"start {change.name} with --join"
        )
    level = change.level or state.peer_levels.get(change.name, 0)
    if change.verb in ("add", "replace", "promote") and 0 < level < state.levels.latest:
        raise ChangeRefused(
            f"{change.name} runs a build of level {level}, and this cluster is at level "
            f"{state.levels.latest}: start {change.name} with a newer version"
        )
