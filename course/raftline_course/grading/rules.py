"""The invariants of a hand-in's runs: the general ones, and those that messages alone can show."""

from __future__ import annotations

from collections.abc import Collection

from raftline.raft.effects import Effects
from raftline.raft.inputs import Receive, Tick
from raftline.raft.membership import Membership
from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Message,
    RequestVoteReply,
)
from raftline.raft.node import RawNode
from raftline.raft.state import State
from raftline_testing.invariants import InvariantError
from raftline_testing.virtual.honest_invariants import HonestInvariants

# election timeouts without a majority's answer, after which a leader must have noticed
QUIET_TIMEOUTS = 4


class CoreInvariants(HonestInvariants):
    """Invariants of a core whose inside is hidden: its votes are the votes that reached it."""

    def __init__(self, members: Membership, *, quorum_check: bool = False) -> None:
        super().__init__(members)
        self._quorum_check = quorum_check
        self._received: dict[str, tuple[int, set[str]]] = {}  # term and votes, by node
        self._was_leading: dict[str, int] = {}
        # time of the last answer, by leader and follower
        self._heard_ms: dict[tuple[str, str], int] = {}
        self._led_from_ms: dict[str, int] = {}
        self._terms: dict[str, dict[int, int]] = {}  # terms of the entries of each log, by index

    def started(self, node: RawNode) -> None:
        name = node.view.name
        self._received.pop(name, None)
        self._was_leading.pop(name, None)
        self._read_log(node)
        super().started(node)

    def hears(self, node: RawNode, message: Message) -> bool:
        return True

    def taking(self, node: RawNode, message: Message) -> None:
        """Do nothing: a core's counts are hidden."""

    def refused(self, node: RawNode, message: Message, why: str) -> None:
        """Do nothing: a core may refuse any message."""

    def keeps_reads(self, state: State, reading: Collection[object]) -> None:
        """Do nothing: a lost read shows at the end, when all must have been answered."""

    def stepped(self, node: RawNode, event: object, effects: Effects) -> None:
        """Check the outcome of an input against the messages that have reached the node."""
        view = node.view
        if isinstance(event, Receive):
            self._note(view.name, event.message, view.now_ms)
        self._keeps_what_agrees(node, event, effects)
        if effects.append and effects.append[-1].term > view.term:
            raise InvariantError(
                f"{view.name} appends an entry of term {effects.append[-1].term}, and stays in "
                f"term {view.term}"
            )
        self._leads_by_votes(node, view.now_ms)
        if self._quorum_check and isinstance(event, Tick):
            self._is_answered(node, view.now_ms)
        super().stepped(node, event, effects)

    def _note(self, name: str, message: Message, now_ms: int) -> None:
        if isinstance(message, RequestVoteReply) and message.granted and not message.pre_vote:
            term, votes = self._received.get(name, (0, set()))
            if message.term > term:
                term, votes = message.term, set()
            if message.term == term:
                votes.add(message.sender)
            self._received[name] = (term, votes)
        elif isinstance(message, (AppendAccepted, AppendRejected)):
            self._heard_ms[name, message.sender] = now_ms

    def _read_log(self, node: RawNode) -> None:
        log = node.view.log
        entries = log.entries(log.base_index + 1, log.last_index)
        self._terms[node.view.name] = {entry.index: entry.term for entry in entries}

    def _keeps_what_agrees(self, node: RawNode, event: object, effects: Effects) -> None:
        """Check that a follower drops entries only if one of them differs from the leader's (Figure
        2)."""
        name, cut = node.view.name, effects.cut_after
        if effects.install is not None:
            self._read_log(node)
            return
        terms = self._terms.setdefault(name, {})
        if cut is not None:
            dropped = [index for index in terms if index > cut]
            new = {entry.index for entry in effects.append}
            lost = min((index for index in dropped if index not in new), default=0)
            message = event.message if isinstance(event, Receive) else None
            if lost and isinstance(message, AppendEntries) and not _differs(terms, message):
                raise InvariantError(
                    f"{name} drops entry {lost} of term {terms[lost]}, which the message of "
                    f"{message.sender} does not contradict"
                )
            for index in dropped:
                del terms[index]
        terms.update((entry.index, entry.term) for entry in effects.append)

    def _leads_by_votes(self, node: RawNode, now_ms: int) -> None:
        view = node.view
        if not view.is_leader:
            self._was_leading.pop(view.name, None)
            return
        if self._was_leading.get(view.name) == view.term:
            return
        self._was_leading[view.name] = view.term
        self._led_from_ms[view.name] = now_ms
        term, votes = self._received.get(view.name, (0, set()))
        votes = {view.name, *(votes if term == view.term else ())}
        members = view.configurations.at(view.log.last_index - 1)
        if not (members.is_quorum(votes) or view.membership.is_quorum(votes)):
            raise InvariantError(
                f"{view.name} leads term {view.term} by the votes of {sorted(votes)} alone"
            )

    def _is_answered(self, node: RawNode, now_ms: int) -> None:
        view = node.view
        if not view.is_leader:
            return
        longest_ms = QUIET_TIMEOUTS * view.options.election_timeout_ms
        since_ms = self._led_from_ms.get(view.name, now_ms)
        heard = {view.name} | {
            peer for peer in view.peers
            if now_ms - max(self._heard_ms.get((view.name, peer), 0), since_ms) <= longest_ms
        }  # fmt: skip
        if not view.membership.is_quorum(heard):
            raise InvariantError(
                f"{view.name} leads on, though for {longest_ms} ms no majority has answered it"
            )


def _differs(terms: dict[int, int], message: AppendEntries) -> bool:
    """Whether a message has an entry with another term than the log's, or follows such an entry."""
    theirs = {entry.index: entry.term for entry in message.entries}
    theirs[message.prev_index] = message.prev_term
    return any(terms.get(index, term) != term for index, term in theirs.items())
