"""The invariants of a hand-in's runs: those of every run, and what messages alone can show."""

from __future__ import annotations

from collections.abc import Collection

from raftline.raft.effects import Effects
from raftline.raft.inputs import Input, Receive, Tick
from raftline.raft.membership import Membership
from raftline.raft.messages import AppendAccepted, AppendRejected, Message, RequestVoteReply
from raftline.raft.node import RawNode
from raftline.raft.state import State
from tests.invariants import InvariantError
from tests.virtual.invariants import HonestInvariants

QUIET_TIMEOUTS = 4  # election timeouts without a majority's answer, and a leader must have noticed


class CoreInvariants(HonestInvariants):
    """Invariants of a core whose inside nobody sees: its votes are those that reached it."""

    def __init__(self, members: Membership, *, quorum_check: bool = False) -> None:
        super().__init__(members)
        self._quorum_check = quorum_check
        self._received: dict[str, tuple[int, set[str]]] = {}  # votes of which term, by node
        self._was_leading: dict[str, int] = {}
        self._heard_ms: dict[tuple[str, str], int] = {}  # leader and follower: last answer
        self._led_from_ms: dict[str, int] = {}

    def started(self, node: RawNode) -> None:
        name = node.view.name
        self._received.pop(name, None)
        self._was_leading.pop(name, None)
        super().started(node)

    def hears(self, node: RawNode, message: Message) -> bool:
        return True

    def taking(self, node: RawNode, message: Message) -> None:
        """Nobody sees what a core counts."""

    def refused(self, node: RawNode, message: Message, why: str) -> None:
        """A core may refuse what it likes."""

    def keeps_reads(self, state: State, reading: Collection[object]) -> None:
        """Whether a read is lost shows at the end, when all must have been answered."""

    def stepped(self, node: RawNode, event: Input, effects: Effects) -> None:
        """Hold the outcome of an input to what has reached the node."""
        view = node.view
        if isinstance(event, Receive):
            self._note(view.name, event.message, view.now_ms)
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
