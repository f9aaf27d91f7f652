"""What holds besides, where every message was really sent by the node that it names.

A transcript may put words into a node's mouth; a simulated network can only repeat them.
"""

from __future__ import annotations

from collections.abc import Iterable

from raftline.raft.effects import Effects, Entry
from raftline.raft.messages import Appended, Message, Missing, Vote
from raftline.raft.node import Node
from raftline.raft.state import State
from tests.invariants import InvariantError, Invariants


class HonestInvariants(Invariants):
    """Invariants of a run in which no message is forged."""

    def __init__(self) -> None:
        super().__init__()
        self.acknowledged_index = 0  # a read that comes from now on must see entries up to here
        self._votes_held: dict[str, tuple[int, str]] = {}

    def started(self, node: Node) -> None:
        self._votes_held.pop(node.state.name, None)  # what was not saved may be forgotten
        super().started(node)

    def received(self, node: Node, message: Message, now_ms: int) -> Effects:
        """Let the node take a message; an answer to an earlier term's question teaches it nothing
        (mistakes 7, 33)."""
        is_late = isinstance(message, (Appended, Missing, Vote)) and message.term < node.state.term
        before = _counted(node.state) if is_late else None
        effects = node.receive(message, now_ms)
        if is_late and _counted(node.state) != before:
            raise InvariantError(f"{node.state.name} counts an answer of term {message.term}")
        return effects

    def reads(self, node: Node, must_see_index: int) -> None:
        """A read sees every write that was acknowledged before it came (mistake 21)."""
        if node.state.last_applied < must_see_index:
            raise InvariantError(
                f"{node.state.name} serves a read from entry {node.state.last_applied}, though "
                f"entry {must_see_index} was acknowledged before the read came"
            )

    def forget(self, entries: Iterable[Entry]) -> None:
        """These died with a single node: it may have led a term that never reached its disk, and
        may lead it once more."""
        for entry in entries:
            self.entries.pop((entry.index, entry.term), None)

    def stepped(self, node: Node, effects: Effects) -> None:
        super().stepped(node, effects)
        self._keeps_its_vote(node.state)
        if node.is_leader:
            self._counts_votes_cast_for_it(node.state)
            if not self._lost_a_log:
                self._counts_entries_that_are_held(node.state)

    def _keeps_its_vote(self, state: State) -> None:
        """Mistake 2: a vote forgotten within its term can be given twice."""
        term, vote = self._votes_held.get(state.name, (-1, ""))
        if term == state.term and vote != state.vote:
            raise InvariantError(
                f"{state.name} takes back its vote for {vote} in term {term}: it is {state.vote}"
            )
        if state.vote is not None:
            self._votes_held[state.name] = (state.term, state.vote)

    def _counts_votes_cast_for_it(self, leader: State) -> None:
        """Mistake 7: a vote of another term, or a PreVote, made a leader."""
        for voter, granted in leader.votes.items():
            cast = self.votes.get((voter, leader.term))
            forgotten = (voter, leader.term, leader.name) in self.forgotten_votes
            if granted and voter != leader.name and cast != leader.name and not forgotten:
                raise InvariantError(
                    f"{leader.name} leads term {leader.term} by a vote of {voter}, "
                    f"which voted for {cast}"
                )

    def _counts_entries_that_are_held(self, leader: State) -> None:
        """Mistake 33: an acknowledgement of another term counts. A follower in a later term may
        have cut meanwhile what it held."""
        for name, progress in leader.progress.items():
            follower = self.nodes[name].state
            index = progress.match_index
            in_snapshot = index < max(follower.log.base_index, leader.log.base_index)
            if follower.term <= leader.term and not in_snapshot and (
                follower.log.term_at(index) != leader.log.term_at(index)
            ):
                raise InvariantError(
                    f"{leader.name} takes {name} to hold entry {index} as it does itself"
                )


def _counted(state: State) -> tuple[set[str], list[tuple[int, int]]]:
    """Return whose votes and what acknowledgements a node counts."""
    granted = {name for name, yes in state.votes.items() if yes}
    return granted, [(p.match_index, p.acked_round) for p in state.progress.values()]
