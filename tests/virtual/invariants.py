"""The invariants beside those: here every message was really sent by the node that it names.

A transcript may put words into a node's mouth; a simulated network can only repeat them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from raftline.raft.effects import Effects
from raftline.raft.entries import Entry
from raftline.raft.inputs import Receive
from raftline.raft.membership import PREFIX, Membership, read
from raftline.raft.messages import AppendAccepted, AppendRejected, Message, RequestVoteReply
from raftline.raft.node import RawNode
from raftline.raft.roles import PeerRead
from raftline.raft.state import State
from tests.invariants import InvariantError, Invariants


class HonestInvariants(Invariants):
    """Invariants of a run in which no message is forged."""

    def __init__(self, members: Membership) -> None:
        super().__init__()
        self.acknowledged_index = 0  # a read that comes from now on must see entries up to here
        self._votes_held: dict[str, tuple[int, str]] = {}
        self._replies: dict[int, str] = {}  # to each committed entry
        self._first_of_request: dict[str, int] = {}  # a numbered request's first entry
        self._members = members  # as committed so far
        self._seen = 0  # committed entries that were looked at for that

    def started(self, node: RawNode) -> None:
        self._votes_held.pop(node._state.name, None)  # what was not saved may be forgotten
        super().started(node)

    def received(self, node: RawNode, message: Message, now_ms: int) -> Effects:
        """Let the node take a message; an answer to an earlier term's question teaches it nothing
        (mistakes 7, 33)."""
        answers = (AppendAccepted, AppendRejected, RequestVoteReply)
        is_late = isinstance(message, answers) and message.term < node._state.term
        before = _counted(node._state, message.sender)
        effects = node.step(Receive(message), now_ms)
        after = _counted(node._state, message.sender)
        # What a node has let go, as it does with one that was removed, teaches it nothing either.
        if is_late and any(now and now != was for was, now in zip(before, after, strict=True)):
            raise InvariantError(f"{node._state.name} counts an answer of term {message.term}")
        return effects

    def reads(self, node: RawNode, must_see_index: int) -> None:
        """A read sees every write that was acknowledged before it came."""
        if node._state.last_applied < must_see_index:
            raise InvariantError(
                f"{node._state.name} serves a read from entry {node._state.last_applied}, though "
                f"entry {must_see_index} was acknowledged before the read came"
            )

    def keeps_reads(self, state: State, reading: Collection[object]) -> None:
        """The core has just those reads that it was given and has not answered: none is lost, which
        would wait for ever, and none is left of an earlier leadership."""
        forwarded = state.forwarded_reads
        kept = [*forwarded.asked, *forwarded.waiting]
        if (leading := state.leading) is not None:
            kept += leading.reads_waiting
            kept += [token for waiting in leading.read_rounds for token in waiting.tokens]
        kept += [ready.token for ready in forwarded.ready]
        own = [token for token in kept if not isinstance(token, PeerRead)]
        self._hold(
            len(own) == len(reading) and all(token in reading for token in own),
            f"{state.name} keeps the reads {own}, and was given {list(reading)}",
        )

    def forget(self, name: str, terms: Collection[int]) -> None:
        """These terms died with a node before they reached its disk, and so anybody else: as a
        lone voter it may have led them, and it or another may lead them once more."""
        for term in terms:
            if self.leaders.get(term) == name:
                del self.leaders[term]
                self.entries = {
                    place: entry for place, entry in self.entries.items() if place[1] != term
                }

    def replied(self, name: str, entries: Sequence[Entry], replies: Sequence[str]) -> int:
        """Hold the replies to committed entries against those of other nodes, and those to a
        request that is there again against the first one (mistakes 22, 27).

        Returns how many were given from the table of sessions.
        """
        again = 0
        for entry, reply in zip(entries, replies, strict=True):
            known = self._replies.setdefault(entry.index, reply)
            self._hold(
                known == reply, f"{name} answers {entry} with {reply!r}, others with {known!r}"
            )
            if "#" not in entry.command:
                continue
            index = self._first_of_request.setdefault(entry.command, entry.index)
            if index != entry.index and not reply.startswith("Sorry, session expired"):
                again += 1
                self._hold(
                    self._replies[index] == reply,
                    f"{entry.command} is answered {reply!r}, the first time "
                    f"{self._replies[index]!r}",
                )
        return again

    def stepped(self, node: RawNode, effects: Effects) -> None:
        super().stepped(node, effects)
        self._changes_one_step_at_a_time()
        self._keeps_its_vote(node._state)
        if node.view.is_leader:
            self._counts_votes_cast_for_it(node._state)
            if not self._lost_a_log:
                self._counts_entries_that_are_held(node._state)

    def _changes_one_step_at_a_time(self) -> None:
        """Committed configurations follow one another as they may: voters move through a joint
        one, and that ends in its own second half (paper §6)."""
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
            self._hold(fits, f"entry {self._seen} makes {before.describe()} {after.describe()}")

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
            if name not in self.nodes:
                continue  # it never ran yet
            follower = self.nodes[name].view
            index = progress.match_index
            in_snapshot = index < max(follower.log.base_index, leader.log.base_index)
            if follower.term <= leader.term and not in_snapshot and (
                follower.log.term_at(index) != leader.log.term_at(index)
            ):
                raise InvariantError(
                    f"{leader.name} takes {name} to hold entry {index} as it does itself"
                )


def _counted(state: State, name: str) -> tuple[bool, tuple[int, int] | None]:
    """Return the vote of this one that a node counts, and what it counts as acknowledged by it."""
    progress = state.progress.get(name)
    held = None if progress is None else (progress.match_index, progress.acked_round)
    return state.votes.get(name, False), held
