"""The first entry of a cluster, the parts of a build that its entries need, and keeping entries
from servers that do not apply these.

The first leader of a cluster begins its log with the entry that gives the cluster its identity, and
names the kernel. The identity is the candidate that the leader's node drew at its start. So no
entry of a client is ever in a log without an identity, and a quorum of servers is enough for
everything.

A later entry of this form adds the part that a command needs, once every member has announced that
its build applies this part alike (docs/operate/upgrades.md). Three rules make this safe:

1. An entry that needs a part follows the entry that names it in every log that holds it (Log
   Matching, §5.3). So a server that executes it has already applied the name.
2. When a part is named, a quorum has announced that it applies it. A server that is to be added
   later is refused if it does not.
3. A member may run another build all the same: one that was not heard yet, or one that was changed
   since. So a leader sends its log only to servers that have announced since they last connected
   that they apply all that is named there. It sends nothing to any other server: that server
   applies nothing, and can't win an election without the committed entry (§5.4.1).

A member that was never up can hold no entry, so nothing waits for it, except that a new leader
gives each member some time to be heard.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..common.extensions import KERNEL
from .change import Change, ChangeRefused
from .identity import (
    identity_command,
    is_foreign,
    lacking,
    name_of_part,
    why_lacking,
    with_parts,
)
from .inputs import PeerBuild
from .log import Entry
from .state import State

NOOP: Final = "noop"
PATIENCE: Final = 10  # election timeouts for which a new leader waits for members not heard yet


def first_command(state: State) -> str:
    """Return the first entry of a new leader: the identity of the cluster if its log has none, else
    a no-op. At the floor no log has an identity."""
    if not _begins_log(state):
        return NOOP
    return identity_command(state.options.cluster_if_new, _own_kernel(state))


def _begins_log(state: State) -> bool:
    return state.identity.is_at_floor and bool(state.options.cluster_if_new)


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
    identity = state.identity
    is_sure = state.cluster or identity.is_at_floor
    return state.log.last_index + 1 if is_sure else identity.index


def note_build(state: State, event: PeerBuild) -> bool:
    """Record what a peer's build applies, or that its connection broke; return whether this
    leader's silence towards it ends."""
    name, applies = event.peer, event.applies
    if applies is None:
        state.peer_builds.pop(name, None)
        return False
    was_silent = not state.may_send(name)
    state.peer_builds[name] = not event.is_at_floor
    state.peer_parts[name] = applies
    if name in state.membership.names:
        if event.is_at_floor and not state.identity.is_at_floor:
            state.note(
                f"[!] {name} announces no build, and this cluster is above the floor: {state.name} "
                f"sends it nothing. Start {name} with raftline and without --floor; if other "
                "implementations take part, begin a cluster whose nodes all have --floor "
                "(docs/operate/upgrades.md)"
            )
        elif why := why_lacking(state.identity.needs.latest, applies):
            state.note(
                f"[!] {name} can't follow: entries of this cluster {why}. Until then {state.name} "
                "sends it nothing (docs/operate/upgrades.md)"
            )
        elif _begins_log(state) and not event.is_at_floor and lacking(_own_kernel(state), applies):
            state.note(
                f"[!] {name} has another kernel than {state.name}, which begins a log only with a "
                "quorum of its own: start one of them from the build of the others "
                "(docs/operate/upgrades.md)"
            )
    return was_silent and state.may_send(name)


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
    identity = state.identity
    if identity.is_at_floor or state.options.applies is None:
        return []
    named = identity.needs.latest.split()
    return [each for each in needed if each not in named]


def add_parts(state: State, needed: Sequence[str]) -> bool:
    """Append the entry after which entries may need these parts, unless they may already; return
    whether one was appended. The caller has asked `who_lacks`."""
    new = further_parts(state, needed)
    if new:
        identity = state.identity
        command = identity_command(identity.latest, with_parts(identity.needs.latest, new))
        state.append([Entry(state.log.last_index + 1, state.term, command)])
    return bool(new)


def renew_parts(state: State) -> bool:
    """Make entries need the parts that they need as this build applies them, once all members do,
    also those whose log came from a build that applied them alike, or named no kernel; return
    whether an entry was appended."""
    identity, own = state.identity, state.options.own_parts
    needs = identity.needs.latest
    named = needs.split()
    parts = () if identity.is_at_floor else {KERNEL, *map(name_of_part, named)}
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
    """Refuse to add a server that can't apply the entries of the log, or a server of another
    cluster.

    A server whose build is not known may be added, but gets no entries until it announces it.

    Raises:
        ChangeRefused: its build can't take part, or its files belong to another cluster.
    """
    name = change.name
    if is_foreign(state.cluster, change.cluster):
        raise ChangeRefused(
            f"{name} has files of another cluster, {change.cluster}: move them away, and start "
            f"{name} with --join"
        )
    if change.verb not in ("add", "replace", "promote") or state.identity.is_at_floor:
        return
    applies = change.applies
    if change.is_at_floor or (applies is None and state.peer_builds.get(name) is False):
        raise ChangeRefused(
            f"{name} announces no build, and this cluster is above the floor: start {name} with "
            "raftline and without --floor"
        )
    if applies is None:
        applies = state.peer_parts.get(name)
    needs = state.identity.needs.latest
    if applies is not None and (why := why_lacking(needs, applies)):
        raise ChangeRefused(f"{name} can't follow: entries of this cluster {why}")
