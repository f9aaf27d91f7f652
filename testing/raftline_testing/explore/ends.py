"""The end of a world: its budget is spent, and only messages arrive and disks write.

Most states of a world belong to its end. No timer fires any more, no client sends requests and no
server crashes. So times make no difference, nor do answers to rounds that no read waits for
(`Ends.local`), nor do most messages (search.c, "once the budget is spent"). The search leaves out:

* Times, except whether a server hears a leader. Answers to rounds that no read waits for.
* An answer that changes nothing. A leader's table never goes back within a term, except by a
  complaint (`GiveEntriesAfterIndex`). So an answer that accepts entries stays, unless no complaint
  can come: none is in flight, and the follower's log equals the leader's.
* A question whose answer changes nothing at its sender, if no server can reach a later term than
  the sender's. Its answer is the same at any later time: a vote that is denied in a term stays
  denied, and a follower keeps the entries that it holds.
* The number of a round in a message, once no read can open or close a round. Entries keep theirs if
  a follower may complain about them.
* A question with a sure answer: it only causes an answer, the same at any time. It is answered at
  once. The answer may stay in flight for any time, so every continuation remains possible. These
  are entries of the latest term that a follower has, and entries or a request for a vote of an
  earlier term, if the sender will never lead the later one.
* The content of an answer by which a server learns of a later term, if it isn't a candidate. It
  becomes a follower, and only the term counts.
* The second of two equal answers that accept entries, where no complaint can come between them; and
  of two that name a later term.

The core receives each message in the current state: the search leaves the message out only if it
changes nothing there. The core also receives an answer that stands for another one, which must have
the same effect; and it receives a second one after the first, which must have none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Message,
    ReadIndex,
    ReadIndexReply,
    RequestVote,
    RequestVoteReply,
)
from raftline.raft.roles import Role
from raftline.raft.state import State

from ..invariants import InvariantError
from .budget import Budget
from .facts import Violation
from .server import Local, Numbers, check_left, written
from .world import World

OTHER, ACCEPTED, REJECTED, DENIED, VOTED, READ_INDEX, READ_REPLY, APPEND, VOTE, PRE_VOTE = range(10)
KINDS: dict[type, int] = {
    AppendAccepted: ACCEPTED,
    AppendRejected: REJECTED,
    RequestVoteReply: VOTED,
    ReadIndex: READ_INDEX,
    ReadIndexReply: READ_REPLY,
    AppendEntries: APPEND,
    RequestVote: VOTE,
}
ROLES = (Role.FOLLOWER, Role.PRE_CANDIDATE, Role.CANDIDATE, Role.LEADER)
# Only in these do the rules of search.c hold.
WORDS = ("timeout", "heartbeat", "command", "read")
MOST_TERMS = 64


def is_spent(left: Budget) -> bool:
    """Whether only arrivals of messages and disk writes are left."""
    return not any(getattr(left, word) for word in WORDS)


def can_end(world: World) -> bool:
    """Whether the end of a world of this budget can be searched with omissions."""
    words = [field.name for field in fields(Budget)[:-1] if getattr(world.budget, field.name)]
    return world.is_reduced and set(words) <= {*WORDS}


class Ends:
    """Facts of servers and messages that the search of an end needs."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._logs = Numbers(18)
        self._blank: dict[tuple[int, int, int], int] = {}

    def local(self, place: int, local: Local, left: Budget) -> Local:
        """Return a server without details that make no difference once the budget is spent."""
        server, now_ms = self._world.servers[place], self._world.now_ms(place, left, local.starts)
        key = place, local.core, now_ms
        if key not in self._blank:
            node = server.node(local.core, now_ms)
            _blank(node._state)
            self._blank[key] = server.number_of(node)
        return local._replace(core=self._blank[key])

    def effect(self, place: int, local: Local, left: Budget, number: int) -> int:
        """Return the effect of a message: 0 for none; the one message that answers it and 2 if
        nothing else changes, whether the answer leaves at once or after a write; else 1."""
        before = local._replace(inbox=(number,))
        made = self._world.taken(place, before, left, [("deliver", number)])
        if not made:
            return 0
        (each,) = made
        after = self.local(place, each.local, each.left)
        if each.events or after._replace(queue=local.queue) != local or each.left != left:
            return 1
        sent = list(each.send)
        if after.queue != local.queue:
            had, has = local.queue[-1:], after.queue[-1:]
            if not had or after.queue[:-1] != local.queue[:-1] or had[0][:-1] != has[0][:-1]:
                return 1
            sent += (Counter(has[0].messages) - Counter(had[0].messages)).elements()
        return sent[0] + 2 if len(sent) == 1 else 1

    def relayed(self, place: int, local: Local, left: Budget, number: int) -> Local:
        """Return a server that has answered a message that changes nothing else."""
        before = local._replace(inbox=(number,))
        (made,) = self._world.taken(place, before, left, [("deliver", number)])
        return self.local(place, made.local, left)

    def deposed(self, place: int, local: Local, left: Budget, number: int) -> int:
        """Return the message that represents all that only teach a server a later term, from any
        sender; the message itself if the core receives both and the effects differ."""
        message = self._world.messages.sent[number]
        known = self._world.messages.of(no_complaint(self._world.names, message.to, message.term))
        both = [
            self._world.taken(place, local._replace(inbox=(each,)), left, [("deliver", each)])
            for each in (number, known)
        ]
        return known if both[0] == both[1] else number

    def is_twice_once(self, place: int, local: Local, left: Budget, number: int) -> bool:
        """Whether a message that arrives twice in a row has an effect only the first time."""
        made = self._world.taken(
            place, local._replace(inbox=(number,)), left, [("deliver", number)]
        )
        after = made[0].local if made else local
        return self.effect(place, self.local(place, after, left), left, number) == 0

    def once(self, local: Local, number: int) -> Local:
        """Return a server that keeps only the first message with this number among those that wait
        for its disk."""
        queue, left = [], 1
        for work in local.queue:
            kept = [each for each in work.messages if each != number]
            kept += [number] * (left if number in work.messages else 0)
            left -= number in work.messages and left
            queue.append(work._replace(messages=tuple(sorted(kept))))
        return local._replace(queue=tuple(queue))

    def same(self, place: int, local: Local, number: int) -> int:
        """Return the message that represents all that differ from this one only in the round, once
        no read waits for a round: an answer that accepts entries; entries that are accepted, now
        and later; and entries of a leader of an earlier term."""
        message = self._world.messages.sent[number]
        if isinstance(message, AppendEntries):
            state = self._world.servers[place].node(local.core, 0)._state
            agrees = state.log.term_at(message.prev_index) == message.prev_term
            if message.term > state.term or (message.term == state.term and not agrees):
                return number
        return self._without_round(number)

    def _without_round(self, number: int) -> int:
        message: Any = self._world.messages.sent[number]  # each kind that comes here has a round
        return self._world.messages.of(replace(message, round=0))

    def without(self, local: Local, number: int) -> Local:
        """Return a server without a message that waits for its disk: it may leave by then, and
        makes no difference.

        Raises:
            Violation: it would not be true when it leaves.
        """
        queue = list(local.queue)
        for place, work in enumerate(queue):
            if number in work.messages:
                message = self._world.messages.sent[number]
                try:
                    check_left(message, written(local.disk, queue[: place + 1]), local.cast)
                except InvariantError as error:
                    raise Violation(str(error)) from None
                kept = tuple(each for each in work.messages if each != number)
                queue[place] = work._replace(messages=kept)
        return local._replace(queue=tuple(queue))

    def roundless(self, local: Local) -> Local:
        """Return a server whose answers that wait for its disk name no round: see `same`."""
        queue = []
        for work in local.queue:
            messages = [
                self._without_round(each)
                if isinstance(self._world.messages.sent[each], AppendAccepted)
                else each
                for each in work.messages
            ]
            queue.append(work._replace(messages=tuple(sorted(messages))))
        return local._replace(queue=tuple(queue))

    def waits(self, local: Local) -> list[int]:
        """Return the messages that wait for a server's disk, without duplicates."""
        return sorted({each for work in local.queue for each in work.messages})

    def trait(self, place: int, local: Local) -> int:
        """Return the traits of a server that the rules of search.c read."""
        world = self._world
        waiting = [world.messages.sent[each] for each in self.waits(local)]
        complains = any(isinstance(message, AppendRejected) for message in waiting)
        state = world.servers[place].node(local.core, 0)._state
        assert state.term < MOST_TERMS
        vote = 0 if state.vote is None else world.places[state.vote] + 1
        hears = state.leader is not None and state.leader_heard_at_ms is not None
        asks = state.forwarded_reads.waiting  # requests that were sent already have left
        leading = state.leading
        reads = bool(asks or (leading and (leading.read_rounds or leading.reads_waiting)))
        reads = reads or any(isinstance(message, ReadIndex) for message in waiting)
        entries = tuple(state.log.entries(state.log.base_index + 1, state.log.last_index))
        traits = state.term | ROLES.index(state.role) << 6 | vote << 8 | complains << 11
        return traits | hears << 12 | reads << 13 | self._logs.of(entries) << 14

    def message(self, message: Message) -> int:
        """Return the traits of a message that the rules of search.c read."""
        kind = KINDS.get(type(message), OTHER)
        if isinstance(message, RequestVote) and message.pre_vote:
            kind = PRE_VOTE
        if isinstance(message, RequestVoteReply) and not message.granted:
            kind = DENIED
        places = self._world.places
        return kind | places[message.sender] << 4 | places[message.to] << 7 | message.term << 10


def no_complaint(names: Sequence[str], to: str, term: int) -> AppendRejected:
    """Return an answer that teaches a server a term, and nothing else."""
    return AppendRejected(next(name for name in names if name != to), to, term, -1, 0)


def _blank(state: State) -> None:
    """Clear the fields that are unused once no timer fires and no reads come: times, except whether
    a leader was heard; answers to rounds, except rounds that reads wait for; the number of an
    answered question."""
    state.leader_heard_at_ms = state.now_ms if state.hears_from_leader else None
    state.election_at_ms = 0
    forwarded = state.forwarded_reads
    forwarded.again_at_ms = 0
    if not forwarded.asked and not forwarded.waiting:
        forwarded.round = 0
    if state.leading is None:
        return
    leading = state.leading
    leading.heartbeat_at_ms = leading.quorum_check_at_ms = 0
    rounds = [waiting.round for waiting in leading.read_rounds]
    for progress in leading.progress.values():
        progress.heard_at_ms = 0
        answered = [each for each in rounds if each <= progress.acked_round]
        progress.acked_round = max(answered, default=0)
