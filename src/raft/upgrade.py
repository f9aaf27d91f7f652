"""Raising the level of a cluster, and keeping what is of a level from servers below it.

The leader appends `level N` once every member, learners too, has announced N or more
(docs/operate/upgrades.md). The entry of level 4 gives the cluster its identity: the candidate that
this leader's shell drew at its start. Three rules make this safe:

1. An entry of level N stands after `level N` in every log that holds it (Log Matching, §5.3). So
   a server that executes it has applied the level before.
2. Each member at the time when `level N` is appended has announced N on an open connection. A
   member that is added after it is refused if it announced less.
3. A build may be replaced by an older one at any time after that. So from the moment that
   `level N` is in its log, a leader sends its log to those servers alone that have announced N
   since they were connected last. To any other it is silent: that server applies nothing, and can't
   win an election without the committed entry (§5.4.1).
"""

from __future__ import annotations

from .change import Change, ChangeRefused
from .levels import IDENTIFIED, is_foreign, spell
from .log import Entry
from .state import State


def note_level(state: State, name: str, level: int) -> bool:
    """Record the level that a server announced, 0 when its connection broke; return whether it
    may be sent from now on what it was not sent before."""
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
    """Append the highest level that all members have announced, if it is above that of the log, or
    the log lacks the identity; return whether this was done. While two configurations are joint,
    all of both must have announced it."""
    leading, levels = state.as_leader, state.levels
    if leading.transfer is not None:
        return False  # who gives way appends nothing (thesis §3.10)
    announced = [state.peer_levels.get(name, 0) for name in state.peers]
    level = min([state.options.level, *announced])
    cluster = levels.clusters.latest or state.options.cluster_if_new
    if not cluster:
        level = min(level, IDENTIFIED - 1)
    if level < levels.latest or (level == levels.latest and not levels.lacks_cluster):
        return False
    state.append([Entry(state.log.last_index + 1, state.term, spell(level, cluster))])
    return True


def check_newcomer(state: State, change: Change) -> None:
    """Refuse to add a server below the level of the log, or one of another cluster.

    One that has announced nothing may be added: until it has, it is sent nothing.

    Raises:
        ChangeRefused: its build is too old, or its files are those of another cluster.
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
