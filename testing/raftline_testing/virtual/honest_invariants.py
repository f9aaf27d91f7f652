"""Additional invariants, where every message was really sent by the node that it names.

A transcript may forge a node's message; a simulated network can only repeat messages.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from raftline.raft.effects import Effects
from raftline.raft.far_terms import TERM_LEAP_MAX
from raftline.raft.inputs import Receive, Tick
from raftline.raft.membership import PREFIX, Membership, read
from raftline.raft.messages import Message
from raftline.raft.node import RawNode
from raftline.raft.state import State

from ..invariants import InvariantError, Invariants

ACCUSED = re.compile(r"\[.\] (\S+) lost (?:entries:|its memory)")


class HonestInvariants(Invariants):
    """Invariants of a run in which no message is forged, except for its term."""

    def __init__(self, members: Membership) -> None:
        super().__init__()
        self._votes_held: dict[str, tuple[int, str]] = {}
        # For each leader, the term and the votes that were checked last.
        self._votes_counted: dict[str, tuple[int, dict[str, bool]]] = {}
        self._members = members  # as committed so far
        self._seen = 0  # committed entries that were checked for that

    def started(self, node: RawNode) -> None:
        self._votes_held.pop(node._state.name, None)  # unsaved votes may be forgotten
        super().started(node)

    def hears(self, node: RawNode, message: Message) -> bool:
        if message.sender in node._state.configurations.latest.voters:
            return True
        return node.accepts(message)  # which a real node's driver also checks for strangers

    def refused(self, node: RawNode, message: Message, why: str) -> None:
        has_leapt = message.term >= TERM_LEAP_MAX  # a forged term (faults/leaps.py)
        if node.accepts(message) and not has_leapt:
            raise InvariantError(f"{node._state.name} refuses {message}: {why}")

    def reads(self, name: str, applied_index: int, must_see_index: int) -> None:
        if applied_index < must_see_index:
            raise InvariantError(
                f"{name} serves a read from entry {applied_index}, though "
                f"entry {must_see_index} was acknowledged before the read came"
            )

    def stepped(self, node: RawNode, event: object, effects: Effects) -> None:
        super().stepped(node, event, effects)
        state = node._state
        if self._seen < len(self.committed):
            self._changes_one_step_at_a_time()
        name = state.name
        held = self._votes_held.get(name)
        if held is None or held[1] != state.vote or held[0] != state.term:
            self._keeps_its_vote(state)
        if effects.notes:
            self._accuses_no_sound_server(state, effects.notes)
        leading = state.leading
        # No other input brings a vote or an acknowledgement; a tick checks all.
        if leading is not None and isinstance(event, (Receive, Tick)):
            if self._votes_counted.get(name) != (state.term, leading.votes):
                self._counts_votes_cast_for_it(state, leading.votes)
            if not self._lost_a_log:
                sender = event.message.sender if isinstance(event, Receive) else None
                self._counts_entries_that_are_held(state, sender)

    def _accuses_no_sound_server(self, state: State, notes: Sequence[str]) -> None:
        """A server that kept all that it had synced is never said to have lost it, which would cost
        it its vote."""
        for note in notes:
            said = ACCUSED.match(note)
            if said is None or said[1] in self.have_lost:
                continue
            node = self.nodes.get(said[1])
            if node is None or not node._state.recovering:  # else it says so itself
                raise InvariantError(f"{state.name} accuses {said[1]}, which lost nothing: {note}")

    def _changes_one_step_at_a_time(self) -> None:
        """Check the order of committed configurations: voters change through a joint one, which
        ends in its own second half (paper §6)."""
        while self._seen < len(self.committed):
            command = self.committed[self._seen][1]
            self._seen += 1
            after = read(command) if command.startswith(PREFIX) else None
            if after is None:
                continue
            before, self._members = self._members, after
            if before.is_joint:
                fits = after == before.settled()
            elif after.is_joint:
                fits = set(after.outgoing) == set(before.voters)
            else:
                fits = set(after.voters) == set(before.voters)
            if not fits:
                raise InvariantError(
                    f"entry {self._seen} makes {before.describe()} {after.describe()}"
                )

    def _keeps_its_vote(self, state: State) -> None:
        """Mistake 2: a vote forgotten within its term can be given twice."""
        term, vote = self._votes_held.get(state.name, (-1, ""))
        if term == state.term and vote != state.vote:
            raise InvariantError(
                f"{state.name} takes back its vote for {vote} in term {term}: it is {state.vote}"
            )
        if state.vote is not None:
            self._votes_held[state.name] = (state.term, state.vote)

    def _counts_votes_cast_for_it(self, leader: State, votes: dict[str, bool]) -> None:
        """Mistake 7: a vote of another term, or a PreVote, made a leader."""
        name, term = leader.name, leader.term
        self._votes_counted[name] = (term, dict(votes))
        for voter, granted in votes.items():
            if not granted or voter == name:
                continue
            cast = self.votes.get((voter, term))
            if cast != name and (voter, term, name) not in self.forgotten_votes:
                raise InvariantError(
                    f"{leader.name} leads term {leader.term} by a vote of {voter}, "
                    f"which voted for {cast}"
                )

    def _counts_entries_that_are_held(self, leader: State, sender: str | None) -> None:
        """Mistake 33: an acknowledgement of another term counts. A follower in a later term may
        have truncated the entries meanwhile. For an answer, only its `sender` is checked, else
        all."""
        log, nodes, followers = leader.log, self.nodes, leader.progress
        for name in followers if sender is None else (sender,):
            progress = followers.get(name)
            if progress is None or name not in nodes:
                continue  # the follower never ran yet
            index = progress.match_index
            if index < log.base_index:
                continue  # the entry is in the snapshot
            follower = nodes[name]._state
            if (
                follower.term <= leader.term
                and index >= follower.log.base_index
                and follower.log.term_at(index) != log.term_at(index)
            ):
                raise InvariantError(
                    f"{leader.name} takes {name} to hold entry {index} as it does itself"
                )
