"""Cores for small cases: a node over a log of given terms, and helpers that make it the leader."""

from __future__ import annotations

from collections.abc import Sequence

from raftline.common.extensions import KERNEL
from raftline.raft.effects import Effects, HardState
from raftline.raft.identity import name_of_part
from raftline.raft.inputs import Applied, Compact, PeerBuild, Receive, Synced, Tick
from raftline.raft.log import Entry, Log
from raftline.raft.membership import Membership, all_vote
from raftline.raft.messages import AppendAccepted, AppendEntries, RequestVote, RequestVoteReply
from raftline.raft.node import RawNode, node_from_disk
from raftline.raft.state import Options

OPTIONS = Options(election_timeout_ms=150, heartbeat_ms=50)
TIMEOUT_MS = 200  # the length of every election timeout here


def log_of(*terms: int) -> Log:
    log = Log()
    for term in terms:
        log.append(term, f"set x {log.last_index + 1}.{term}")
    return log


def members_of(*voters: str) -> Membership:
    return all_vote({name: f"{name}:1" for name in voters})


def node_of(
    name: str,
    *terms: int,
    term: int | None = None,
    vote: str | None = None,
    voters: Sequence[str] | Membership = ("s1", "s2", "s3"),
    recovering: bool = False,
    newborn: bool = False,
    may_be_new: bool = False,
    incarnation: int = 1,
    differs: int = 0,
    received_index: int = 0,
    options: Options = OPTIONS,
    lease_ms: int = 0,
    timeout_ms: int = TIMEOUT_MS,
) -> RawNode:
    """Return a node whose log holds entries of these terms, at time 0."""
    log = log_of(*terms)
    hard_state = HardState(log.last_term if term is None else term, vote, lease_ms)
    members = voters if isinstance(voters, Membership) else members_of(*voters)
    return node_from_disk(
        name,
        members,
        log,
        hard_state,
        options,
        lambda: timeout_ms,
        0,
        recovering=recovering,
        newborn=newborn,
        may_be_new=may_be_new,
        incarnation=incarnation,
        differs=differs,
        received_index=received_index,
    )


def candidate_of(name: str, *terms: int, **more: object) -> RawNode:
    """Return a node that has just asked for votes: all peers granted their PreVotes, and told that
    they apply its kernel, if it has one."""
    node = node_of(name, *terms, **more)  # type: ignore[arg-type]
    kernel = [each for each in node._state.options.own_parts if name_of_part(each) == KERNEL]
    for peer in node.view.peers if kernel else ():
        node.step(PeerBuild(peer, frozenset(kernel)), 0)
    node.step(Tick(), TIMEOUT_MS)
    for peer in node.view.peers:
        if node.view.role.value == "pre-candidate":
            granted = RequestVoteReply(peer, name, node.view.term + 1, True, pre_vote=True)
            node.step(Receive(granted), TIMEOUT_MS)
    return node


def leader_of(name: str, *terms: int, **more: object) -> RawNode:
    """Return a node that has just been elected by all, its no-op on its own disk."""
    node = candidate_of(name, *terms, **more)
    for peer in node.view.peers:
        if not node.view.is_leader:
            node.step(Receive(RequestVoteReply(peer, name, node.view.term, True)), TIMEOUT_MS)
    sync(node)
    return node


def established(name: str, *terms: int, **more: object) -> RawNode:
    """Return a leader whose no-op is on every follower, committed and applied."""
    node = leader_of(name, *terms, **more)
    for peer in node.view.peers:
        acknowledge(node, peer)
    applied(node)
    return node


def applied(node: RawNode, index: int | None = None) -> Effects:
    """Report to the node that entries up to `index`, or all that were handed out, are executed."""
    index = node.view.applying if index is None else index
    return node.step(Applied(index), node.view.now_ms)


def sync(node: RawNode) -> Effects:
    """Tell the node that its whole log is on its disk."""
    log = node.view.log
    return node.step(Synced(log.last_index, log.last_term), node.view.now_ms)


def acknowledge(
    leader: RawNode, peer: str, index: int | None = None, number: int | None = None
) -> Effects:
    """Acknowledge as a follower the leader's log up to `index`, or all of it."""
    state = leader.view
    index = state.log.last_index if index is None else index
    number = state.round if number is None else number
    return leader.step(
        Receive(AppendAccepted(peer, state.name, state.term, index, number)), state.now_ms
    )


def beat(leader: RawNode) -> Effects:
    """Pass the time until the leader's next round of heartbeats; return the Effects of that."""
    before, effects = leader.view.round, Effects()
    while leader.view.is_leader and leader.view.round == before:
        effects = leader.step(Tick(), leader.wake_at_ms)
    return effects


def append(
    term: int,
    prev: tuple[int, int],
    *terms: int,
    commit: int = 0,
    number: int = 1,
    sender: str = "s1",
    to: str = "s2",
    vote_again: int = 0,
) -> AppendEntries:
    """Return an AppendEntries with entries of these terms after `prev`, (index, term)."""
    entries = [
        Entry(index, entry_term, f"set x {index}.{entry_term}")
        for index, entry_term in enumerate(terms, start=prev[0] + 1)
    ]
    return AppendEntries(sender, to, term, *prev, entries, commit, number, vote_again)


def request(
    term: int,
    last: tuple[int, int] = (0, 0),
    *,
    sender: str = "s1",
    to: str = "s2",
    pre_vote: bool = False,
) -> RequestVote:
    return RequestVote(sender, to, term, *last, pre_vote)


def compact(node: RawNode, index: int) -> bool:
    """Drop entries up to `index` from memory, as many as one step may; return whether more
    remain."""
    node.step(Compact(index), node.view.now_ms)
    return node.view.log.base_index < index


def terms_of(node: RawNode) -> list[int | None]:
    """Return the terms of the node's entries, first to last."""
    log = node.view.log
    return [log.term_at(index) for index in range(1, log.last_index + 1)]
