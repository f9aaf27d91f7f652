"""The invariants of every run of the core, under any faults of network, disks and clocks.

The driver of a test (transcripts, simulation) reports events to `Invariants` as they happen; each
check covers only the new facts, so that thousands of runs can afford it. Names and numbers of the
properties: Raft paper, Figure 3.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from raftline.raft.effects import Effects, HardState
from raftline.raft.inputs import Receive
from raftline.raft.log import Entry, Snapshot
from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Message,
    RequestVote,
    RequestVoteReply,
)
from raftline.raft.node import RawNode
from raftline.raft.roles import PeerRead, Role
from raftline.raft.state import State


class InvariantError(Exception):
    """Two facts of one run that contradict each other by Raft."""


class BeganAgain(Exception):
    """Servers without entries elect a leader, though the cluster has a history that some server
    lost with its disk: from here on there are two clusters, which must be judged apart."""


ANSWERS = (AppendAccepted, AppendRejected, RequestVoteReply)


class Invariants:
    """The facts of a run: leaders, votes, committed entries, and the contents of each disk."""

    def __init__(self) -> None:
        self.nodes: dict[str, RawNode] = {}
        self.leaders: dict[int, str] = {}  # of each term, over all time
        self.votes: dict[tuple[str, int], str] = {}  # (voter, term) to candidate
        self.forgotten_votes: set[tuple[str, int, str]] = set()  # by whom, in which term, for whom
        self.saved_states: dict[str, HardState] = {}
        self.durable: dict[str, int] = {}  # the last entry on each disk
        self._disk_terms: dict[str, dict[int, int]] = {}  # of the entries on each disk, by index
        self._disk_base: dict[str, int] = {}  # the last entry of the snapshot in force
        self.have_lost: set[str] = set()  # servers whose disk lost what it once held
        self.entries: dict[tuple[int, int], tuple[int, str]] = {}  # to (term before, command)
        self.committed: list[tuple[int, str]] = []  # (term, command) of index 1 …
        self.commit_terms: list[int] = []  # the term in which each was first seen committed
        self._commit: dict[str, int] = {}  # of each node, in this incarnation
        self._applied: dict[str, int] = {}
        self._term: dict[str, int] = {}
        self._led: dict[str, tuple[int, int]] = {}  # leader of which term, with which last index
        self._lost_a_log = False
        self.acknowledged_index = 0  # a read that arrives from now on must see entries up to here
        # The sender's vote and acknowledgement that a node had counted before it received an answer
        # of an earlier term.
        self._counted_before: tuple[bool, tuple[int, int] | None] | None = None
        self._began: set[str] = set()  # servers that were more than newborn
        self._wiped: set[str] = set()  # servers that are newborn for a second time
        self._may_begin_again = False  # one of these took its vote back as if it were new
        self._replies: dict[int, str] = {}  # the reply to each committed entry
        self._first_of_request: dict[str, int] = {}  # a numbered request's first entry

    # --- events from the driver -----------------------------------------------------------------

    def started(self, node: RawNode) -> None:
        """Record that a node starts or restarts with the contents of its disk."""
        state = node._state
        name = state.name
        saved = self.saved_states.get(name, HardState(0, None))
        if state.term < saved.term:
            raise InvariantError(
                f"{name} restarts in term {state.term}, but had saved term {saved.term}"
            )
        # A vote may have been cast as it died.
        if state.term == saved.term and saved.vote not in (None, state.vote):
            raise InvariantError(
                f"{name} restarts with vote {state.vote}, but had saved {saved.vote}"
            )
        self._note_birth(state)
        self.nodes[name] = node
        self.saved(name, HardState(state.term, state.vote))
        self._starts_from_disk(state)
        self._commit[name] = self._applied[name] = state.log.base_index
        self._term[name] = state.term
        self._led.pop(name, None)
        self._lost_a_log = self._lost_a_log or state.recovering
        for index in range(state.log.base_index + 1, state.log.last_index + 1):
            self._log_matching(node, index)

    def _starts_from_disk(self, state: State) -> None:
        name, log = state.name, state.log
        before, base = self._disk_terms.get(name, {}), log.base_index
        terms = {index: log.term_at(index) or 0 for index in range(base, log.last_index + 1)}
        self.durable[name], self._disk_base[name] = log.last_index, base
        self._disk_terms[name] = terms
        lost = any(index > base and terms.get(index) != term for index, term in before.items())
        if lost or state.recovering:
            self.have_lost.add(name)

    def _note_birth(self, state: State) -> None:
        if not state.newborn:
            self._began.add(state.name)
        elif state.name in self._began:
            self._wiped.add(state.name)

    def forgot(self, name: str) -> None:
        """Record that a node's term and vote are gone: it may give a vote twice."""
        self.saved_states.pop(name, None)
        self.have_lost.add(name)
        for key in [key for key in self.votes if key[0] == name]:
            self.forgotten_votes.add((*key, self.votes.pop(key)))
        self.lost_a_log()

    def lost_a_log(self) -> None:
        """Record a lost log: from now on, a committed entry may be missing on a node that
        acknowledged it."""
        self._lost_a_log = True

    def taking(self, node: RawNode, message: Message) -> None:
        """Record that a node is about to receive a message."""
        self._counted_before = None
        if message.term < node._state.term and isinstance(message, ANSWERS):
            self._counted_before = _counted(node._state, message.sender)

    def hears(self, node: RawNode, message: Message) -> bool:
        """Whether the core receives this message at all."""
        return True

    def refused(self, node: RawNode, message: Message, why: str) -> None:
        """Record that a node refuses a message, which may be forged."""

    def reads(self, name: str, applied_index: int, must_see_index: int) -> None:
        """Check a served read; unless a message is forged, or a clock too fast or too slow, it sees
        every write that was acknowledged before the read arrived."""

    def keeps_reads(self, state: State, reading: set[Any]) -> None:
        """Check that the core has exactly the reads that it received and has not answered: a lost
        one would wait for ever, and none may be left from an earlier leadership."""
        forwarded, leading = state.forwarded_reads, state.leading
        pending = forwarded.asked + forwarded.waiting
        if leading is not None:
            pending += leading.reads_waiting
            for waiting in leading.read_rounds:
                pending += waiting.tokens
        for ready in state.confirmed_reads:
            pending.append(ready.token)
        own = [token for token in pending if not isinstance(token, PeerRead)]
        if lost := len(reading.difference(own)):
            raise InvariantError(f"{state.name} lost {lost} of the reads that it was given")
        if spare := len(own) - len(reading):
            raise InvariantError(f"{state.name} keeps {spare} reads that no client waits for")

    def forget(self, name: str, terms: Collection[int]) -> None:
        """Drop the leaders of terms that died with a node before they reached its disk, and so any
        other node: as a lone voter it may have led them, and it or another may lead them again."""
        for term in terms:
            if self.leaders.get(term) == name:
                del self.leaders[term]
                self.entries = {
                    place: entry for place, entry in self.entries.items() if place[1] != term
                }

    def replied(self, name: str, entries: Sequence[Entry], replies: Sequence[str]) -> int:
        """Compare the replies to committed entries with the replies of other nodes, and the replies
        to a repeated request with the first one (mistakes 22, 27).

        Returns how many came from the table of sessions.
        """
        again = 0
        for entry, reply in zip(entries, replies, strict=True):
            if not reply and entry.command.startswith("set "):
                continue  # no client waited for it
            previous = self._replies.setdefault(entry.index, reply)
            if previous != reply:
                raise InvariantError(
                    f"{name} answers {entry} with {reply!r}, others with {previous!r}"
                )
            if "#" not in entry.command:
                continue
            index = self._first_of_request.setdefault(entry.command, entry.index)
            if index != entry.index and not reply.startswith("Sorry, session expired"):
                again += 1
                if self._replies[index] != reply:
                    raise InvariantError(
                        f"{entry.command} is answered {reply!r}, the first time "
                        f"{self._replies[index]!r}"
                    )
        return again

    def saved(self, name: str, hard_state: HardState) -> None:
        """Check a term and vote that have reached the disk."""
        before = self.saved_states.get(name, hard_state)
        if hard_state.term < before.term:
            raise InvariantError(f"{name} saves term {hard_state.term} over term {before.term}")
        if hard_state.vote is not None:
            self._one_vote(name, hard_state.term, hard_state.vote)
        if hard_state.term == before.term and before.vote not in (None, hard_state.vote):
            raise InvariantError(
                f"{name} changes its vote of term {before.term} from {before.vote} "
                f"to {hard_state.vote}"
            )
        self.saved_states[name] = hard_state

    def cut(self, name: str, index: int) -> None:
        """Record that the log on disk now ends at `index`."""
        terms = self._disk_terms[name]
        for beyond in range(index + 1, self.durable[name] + 1):
            terms.pop(beyond, None)
        self.durable[name] = min(self.durable[name], index)

    def synced(self, name: str, entries: Sequence[Entry]) -> None:
        """Record that these entries are on disk, where nothing can take them away."""
        self._disk_terms[name].update((entry.index, entry.term) for entry in entries)
        self.durable[name] = entries[-1].index

    def installed(self, name: str, snapshot: Snapshot) -> None:
        """Record that a snapshot is in force on disk, and that the log begins after it."""
        self.durable[name] = self._disk_base[name] = snapshot.index
        self._disk_terms[name] = {snapshot.index: snapshot.term}

    def sent(self, message: object) -> None:
        """Check that the claims of a sent message are on its sender's disk (Figure 2, T3.8)."""
        if isinstance(message, AppendEntries):
            return
        if isinstance(message, RequestVote) and not message.pre_vote:
            saved = self.saved_states[message.sender]
            if not (saved.term > message.term or saved[:2] == (message.term, message.sender)):
                raise InvariantError(
                    f"{message.sender} asks for votes of term {message.term}, its disk has {saved}"
                )
        elif isinstance(message, RequestVoteReply) and message.granted and not message.pre_vote:
            saved = self.saved_states[message.sender]
            self._one_vote(message.sender, message.term, message.to)
            if not (saved.term > message.term or saved[:2] == (message.term, message.to)):
                raise InvariantError(
                    f"{message.sender} votes for {message.to} in term {message.term}, "
                    f"its disk has {saved}"
                )
        elif isinstance(message, AppendAccepted):
            saved = self.saved_states[message.sender]
            durable = self.durable[message.sender]
            if saved.term < message.term or (
                saved.term == message.term and durable < message.index
            ):
                raise InvariantError(
                    f"{message.sender} acknowledges entry {message.index} of term {message.term}, "
                    f"its disk has {saved} and entries up to {durable}"
                )

    def stepped(self, node: RawNode, event: object, effects: Effects) -> None:
        """Check a node that took one input; call this before its effects are carried out."""
        state = node._state
        if effects.forgot or effects.recovered or (self._may_begin_again and effects.append):
            self._begins(state, effects)
        if self._counted_before is not None:
            self._learns_nothing_of_an_earlier_term(node, event)
        name = state.name
        if state.term != self._term[name] or state.commit_index < self._commit[name]:
            self._never_back(state)
        for entry in effects.append:
            self._log_matching(node, entry.index)
        forwarded, leading = state.forwarded_reads, state.leading
        has_reads = leading is not None and (leading.reads_waiting or leading.read_rounds)
        if has_reads or forwarded.asked or forwarded.waiting:
            self._nothing_of_another_leadership(state)
        if leading is not None or name in self._led:
            self._leader(node, effects)
        if effects.send_after_save or effects.send or effects.send_past_entries:
            self._messages(state, effects)
        self._counts_its_own_disk(state)
        if state.commit_index > self._commit[name]:
            self._commits(node, effects)
        if effects.apply or effects.install is not None:
            self._applies(state, effects)

    # --- the properties -------------------------------------------------------------------

    def _learns_nothing_of_an_earlier_term(self, node: RawNode, event: object) -> None:
        """An answer to an earlier term's question teaches a node nothing (mistakes 7, 33)."""
        before, self._counted_before = self._counted_before, None
        if before is None or not isinstance(event, Receive):
            return
        after = _counted(node._state, event.message.sender)
        # Nor does a vote or acknowledgement that the node has dropped, as for a removed member.
        if any(now and now != was for was, now in zip(before, after, strict=True)):
            raise InvariantError(f"{node._state.name} counts an answer of an earlier term")

    def _begins(self, state: State, effects: Effects) -> None:
        """Note that a server ceased to be newborn, and find the first entry of a second cluster.

        Raises:
            BeganAgain: a new leader gives its log an identity, and there was a leader before.
        """
        name, identity = state.name, state.identity
        if effects.forgot or effects.recovered:
            self._began.add(name)
            if name in self._wiped:
                self._wiped.remove(name)
                # What it promised before it lost its disk counts no longer (raft/newborn.py).
                self._may_begin_again = self._may_begin_again or not effects.forgot
        if not (self._may_begin_again and self.leaders and effects.append):
            return
        begins = identity.latest and identity.index == effects.append[0].index
        if begins and state.leading is not None:
            raise BeganAgain(f"{name} begins cluster {identity.latest}")

    def _one_vote(self, voter: str, term: int, candidate: str) -> None:
        previous = self.votes.setdefault((voter, term), candidate)
        if previous != candidate:
            raise InvariantError(f"{voter} votes for {previous} and for {candidate} in term {term}")

    def _never_back(self, state: State) -> None:
        """Terms and commit indexes only grow."""
        name = state.name
        if state.term < self._term[name]:
            raise InvariantError(f"{name} goes back to term {state.term}")
        if state.commit_index < self._commit[name]:
            raise InvariantError(
                f"{name}'s commit index falls from {self._commit[name]} to {state.commit_index}"
            )
        self._term[name] = state.term

    def _log_matching(self, node: RawNode, index: int) -> None:
        """An entry of one index and term has one command and one predecessor, in every log; by
        induction two logs that share it are equal up to it."""
        log = node._state.log
        term, before = log.term_at(index), log.term_at(index - 1)
        if term is None or before is None:
            raise InvariantError(f"{node._state.name} was to append entry {index}, but lacks it")
        command = log.commands[index - log.base_index - 1]
        previous = self.entries.setdefault((index, term), (before, command))
        if previous != (before, command):
            raise InvariantError(
                f"entry {index} of term {term} is {command!r} after term {before} at "
                f"{node._state.name}, elsewhere {previous[1]!r} after term {previous[0]}"
            )

    def _nothing_of_another_leadership(self, state: State) -> None:
        """The state of a leadership ends with it: reads, changes, the followers' progress. A node
        without a leader has no requests to one."""
        name = state.name
        leading = state.leading
        if leading is not None and self._led.get(name, (0, 0))[0] != state.term:
            reads = [*leading.reads_waiting, *leading.read_rounds]
            if reads:
                raise InvariantError(f"{name} leads term {state.term} with the reads {reads}")
        forwarded = state.forwarded_reads
        has_asked = forwarded.asked or forwarded.waiting
        if has_asked and (state.role is not Role.FOLLOWER or state.leader is None):
            requests = [*forwarded.asked, *forwarded.waiting]
            raise InvariantError(f"{name} follows no leader that it could ask for {requests}")

    def _leader(self, node: RawNode, effects: Effects) -> None:
        """Election Safety, Leader Append-Only, Leader Completeness."""
        state = node._state
        led = self._led.pop(state.name, None)
        if state.leading is None:
            return
        previous = self.leaders.setdefault(state.term, state.name)
        if previous != state.name:
            raise InvariantError(f"{previous} and {state.name} lead term {state.term}")
        if led is None or led[0] != state.term:
            self._leader_completeness(node)
        else:
            if effects.cut_after is not None or state.log.last_index < led[1]:
                raise InvariantError(
                    f"leader {state.name} cuts its own log after {effects.cut_after}"
                )
        self._led[state.name] = (state.term, state.log.last_index)

    def _leader_completeness(self, node: RawNode) -> None:
        """A new leader holds all entries committed in earlier terms."""
        state = node._state
        index = len(self.committed)
        while index and self.commit_terms[index - 1] >= state.term:
            index -= 1
        if index > state.log.base_index:
            term, command = self.committed[index - 1]
            if state.log.term_at(index) != term:
                raise InvariantError(
                    f"{state.name} leads term {state.term} without entry {index} "
                    f"of term {term} ({command!r}), which is committed"
                )

    def _messages(self, state: State, effects: Effects) -> None:
        """Sent entries are in the log, including the batch that was sent last."""
        for message in effects.messages():
            if isinstance(message, AppendAccepted):
                self._acknowledgement(state, message)
                self._reports_its_newest_sums(state, message)
            elif isinstance(message, AppendEntries) and message.entries:
                self._within_bounds(state, message)
                for entry in (message.entries[0], message.entries[-1]):
                    if state.log.term_at(entry.index) != entry.term:
                        raise InvariantError(f"{state.name} sends {entry}, which is not in its log")

    def _within_bounds(self, state: State, message: AppendEntries) -> None:
        """A message has a bounded number of entries, and of bytes unless it has a single entry; a
        bounded number of them is unanswered."""
        options, entries = state.options, message.entries
        if len(entries) > options.batch_entries:
            raise InvariantError(f"{state.name} sends {len(entries)} entries in one message")
        if len(entries) > 1:
            size = sum(len(entry.command) for entry in entries)
            if size > options.batch_bytes:
                raise InvariantError(f"{state.name} sends {size} bytes of entries in one message")
        progress = state.progress.get(message.to)
        if progress is not None and len(progress.in_flight) > options.window:
            raise InvariantError(f"{state.name} sends {message.to} more than its window")

    def _acknowledgement(self, follower: State, message: AppendAccepted) -> None:
        """Check that acknowledged entries of a follower equal its leader's entries."""
        node = self.nodes.get(message.to)
        if node is None:
            return
        leader, index = node._state, message.index
        if leader.leading is None or leader.term != message.term:
            return
        if index < max(follower.log.base_index, leader.log.base_index):
            return  # committed, and in a snapshot
        own_term = follower.log.term_at(index)
        if own_term is None or own_term != leader.log.term_at(index):
            raise InvariantError(
                f"{message.sender} acknowledges entry {index}, but does not hold its leader's"
            )

    def _reports_its_newest_sums(self, state: State, message: AppendAccepted) -> None:
        """A difference is found by the first sum after it: an older one would hide it."""
        sums, newest = message.sums, max(state.state_sums, default=0)
        if sums is not None and (sums.index, sums.state_index) != (state.applied, newest):
            raise InvariantError(f"{state.name} reports {sums}, and has summed entry {newest}")

    def _commits(self, node: RawNode, effects: Effects) -> None:
        """State Machine Safety, and a quorum of disks for each entry a leader commits."""
        state = node._state
        first, last = self._commit[state.name] + 1, state.commit_index
        self._commit[state.name] = last
        # The entries of an installed snapshot were committed by others, one by one.
        if state.log.base_index > len(self.committed):
            raise InvariantError(
                f"{state.name} has a snapshot of entry {state.log.base_index}, not yet committed"
            )
        first = max(first, state.log.base_index + 1)
        for entry in state.log.entries(first, last):
            if entry.index > len(self.committed):
                self.committed.append((entry.term, entry.command))
                self.commit_terms.append(state.term)
            if self.committed[entry.index - 1] != (entry.term, entry.command):
                raise InvariantError(
                    f"{state.name} takes {entry} for committed, "
                    f"others {self.committed[entry.index - 1]}"
                )
        if state.leading is not None and not self._lost_a_log:
            appended = effects.append[0].index if effects.append else state.log.last_index + 1
            self._on_a_quorum_of_disks(node, last, appended - 1)

    def _counts_its_own_disk(self, state: State) -> None:
        """All that a server counts as durable is on its disk: a power cut leaves it there. By Log
        Matching the last such entry shows all of them."""
        index, log, terms = state.durable_index, state.log, self._disk_terms.get(state.name)
        if terms is None or index <= max(log.base_index, self._disk_base[state.name]):
            return  # the snapshot has it, or (explore/) the disk itself is compared
        on_disk = terms.get(index)
        if on_disk is None or on_disk != log.term_at(index):
            raise InvariantError(
                f"{state.name} takes entry {index} of term {log.term_at(index)} to be on its disk, "
                f"which has term {on_disk} there"
            )

    def _applies(self, state: State, effects: Effects) -> None:
        """State Machine Safety: the same entries, in order, and only after their commit."""
        if effects.install is not None:
            self._applied[state.name] = effects.install.index
        for entry in effects.apply:
            applied = self._applied[state.name] + 1
            if entry.index != applied or applied > state.commit_index:
                raise InvariantError(f"{state.name} applies entry {entry.index}, {applied} is next")
            if self.committed[applied - 1] != (entry.term, entry.command):
                raise InvariantError(
                    f"{state.name} applies {entry}, others {self.committed[applied - 1]}"
                )
            self._applied[state.name] = applied

    def _on_a_quorum_of_disks(self, node: RawNode, index: int, known_index: int) -> None:
        term = node._state.log.term_at(index)
        holders = [
            name
            for name in self.nodes
            if self._disk_base[name] >= index or self._disk_terms[name].get(index) == term
        ]
        # By the configuration in use before this step: the step appended its entries afterwards.
        members = node._state.configurations.at(known_index)
        for half in (members.voters, members.outgoing or members.voters):
            on_disks = [name for name in holders if name in half]
            own = node._state.term
            if 2 * len(on_disks) > len(half) and term != own:
                raise InvariantError(
                    f"{node._state.name} commits entry {index} of term {term} by counting, leading "
                    f"term {own}: it is on the disks of {on_disks}, but an entry of term {own} "
                    "must commit it"
                )
            if 2 * len(on_disks) <= len(half):
                raise InvariantError(
                    f"{node._state.name} commits entry {index} of term {term} in term "
                    f"{own}, on the disks of {on_disks} only, out of {list(half)}"
                )


def _counted(state: State, name: str) -> tuple[bool, tuple[int, int] | None]:
    """Return the vote of this server that a node counts, and the entries that it counts as
    acknowledged by it."""
    progress = state.progress.get(name)
    counted = None if progress is None else (progress.match_index, progress.acked_round)
    return state.votes.get(name, False), counted
