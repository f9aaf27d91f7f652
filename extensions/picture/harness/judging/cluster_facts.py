"""A check of each server's statements against the facts of all servers of a cluster, in order of
time. Pure.

A server knows only the answers that it received; this module knows which servers really hold an
entry, and how each one voted. It needs one clock for all servers, as in a simulation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from raftline.picture.observe.facts import Facts, Step, Topic, among, electors_of
from raftline.raft.inputs import Receive
from raftline.raft.log import Entry
from raftline.raft.messages import AppendAccepted, Message, RequestVote, RequestVoteReply

from .findings import Finding


class _Disk:
    """The log of one server, and the facts about its disk that its messages showed."""

    def __init__(self) -> None:
        self.log: dict[int, Entry] = {}
        self.base_index = 0
        self.durable_index = 0  # as it reports, or as its answer shows
        self.term = 0  # on its disk, according to its messages
        self.vote: str | None = None

    def holds(self, index: int, term: int) -> bool:
        if self.base_index >= index:
            return True
        entry = self.log.get(index)
        return entry is not None and entry.term == term and self.durable_index >= index

    def shows(self, message: Message) -> None:
        """Record what a message of the server proves to be on its disk (Figure 2)."""
        vote = None
        if isinstance(message, RequestVote) and not message.pre_vote:
            vote = message.sender
        elif isinstance(message, RequestVoteReply) and message.granted and not message.pre_vote:
            vote = message.to
        elif isinstance(message, AppendAccepted):
            if self.log.get(message.index) is not None:
                self.durable_index = max(self.durable_index, message.index)
        else:
            return
        if message.term > self.term:
            self.term, self.vote = message.term, vote
        elif message.term == self.term:
            self.vote = vote or self.vote


class _Committed:
    """An entry when it was first considered committed, with the server and its term."""

    def __init__(self, entry: Entry, name: str, term: int) -> None:
        self.entry, self.name, self.term = entry, name, term


class Cluster:
    """A checker for the starts and steps of all servers, which reports broken rules (Figure 3)."""

    def __init__(self) -> None:
        self._servers: dict[str, _Disk] = {}
        self._leaders: dict[int, str] = {}  # of each term
        self._entries: dict[tuple[int, int], tuple[str, str]] = {}  # index, term: command, server
        self._committed: dict[int, _Committed] = {}
        self._has_lost = False  # a log was lost, so a majority may no longer hold an entry

    def started(self, name: str, facts: Facts, log: Sequence[Entry]) -> list[Finding]:
        """Record a server's start with the content of its disk."""
        earlier = self._servers.get(name)
        server = self._servers[name] = _Disk()
        findings: list[Finding] = []
        is_empty = not (facts.term or facts.last_index)
        if not facts.has_memory or (earlier is not None and is_empty):
            self._has_lost = True  # it lost its entries, or all of its files
        elif earlier is not None:
            server.term, server.vote = earlier.term, earlier.vote
            findings += _forgotten(earlier, facts)
            self._forget(name, facts.term)
        if facts.commit_index > facts.base_index:
            findings.append(Finding(
                Topic.START,
                f"starts with entries up to {facts.commit_index} committed, and no leader said so: "
                f"its snapshot reaches up to {facts.base_index}",
                "Figure 2", "node.node_from_disk",
            ))  # fmt: skip
        server.base_index, server.durable_index = facts.base_index, facts.durable_index
        return findings + self._take_entries(name, server, log)

    def stepped(self, step: Step) -> list[Finding]:
        """Record a step, and return the rules that it breaks."""
        if isinstance(step.event, Receive) and not step.refusal:
            message = step.event.message
            if (sender := self._servers.get(message.sender)) is not None:
                sender.shows(message)
        server = self._servers.setdefault(step.name, _Disk())
        cut = step.effects.cut_after
        if step.effects.install is not None:
            server.log = {at: one for at, one in server.log.items() if at <= step.after.last_index}
        if cut is not None:
            server.log = {at: one for at, one in server.log.items() if at <= cut}
            server.durable_index = min(server.durable_index, cut)
        findings = self._take_entries(step.name, server, step.effects.append)
        server.base_index = step.after.base_index
        server.durable_index = max(server.durable_index, step.after.durable_index)
        findings += self._led(step, server)
        if step.after.commit_index > step.before.commit_index:
            findings += self._commits(step, server)
        return findings

    def _forget(self, name: str, term: int) -> None:
        """Forget terms that a lone voter led and lost in a crash before they were on its disk: it
        may lead them again."""
        gone = [led for led, leader in self._leaders.items() if leader == name and led > term]
        for led in gone:
            del self._leaders[led]
            self._entries = {at: one for at, one in self._entries.items() if at[1] != led}

    def _take_entries(self, name: str, server: _Disk, entries: Iterable[Entry]) -> list[Finding]:
        for entry in entries:
            server.log[entry.index] = entry
            place = entry.index, entry.term
            command, where = self._entries.setdefault(place, (entry.command, name))
            if command != entry.command:
                return [Finding(
                    Topic.APPEND,
                    f"entry {entry.index} of term {entry.term} is `{entry.command}` here, and "
                    f"{'was ' if where == name else ''}`{command}` at {where}: Log Matching",
                    "§5.3, Figure 3", "state.append",
                )]  # fmt: skip
        return []

    def _led(self, step: Step, server: _Disk) -> list[Finding]:
        before, after = step.before, step.after
        if not after.leads or (before.leads and before.term == after.term):
            return []
        findings = []
        leader = self._leaders.setdefault(after.term, step.name)
        if leader != step.name:
            text = f"leads term {after.term}, which {leader} leads, too: Election Safety"
            findings.append(Finding(Topic.LEAD, text, "§5.2, Figure 3", "election.become_leader"))
        lacks = self._lacks(server, after.term)
        if lacks is not None:
            entry = lacks.entry
            text = (
                f"leads term {after.term} without entry {entry.index} of term {entry.term}, which "
                f"{lacks.name} committed in term {lacks.term}: Leader Completeness"
            )
            findings.append(Finding(Topic.LEAD, text, "§5.4, Figure 3", "election.become_leader"))
        return findings

    def _lacks(self, server: _Disk, term: int) -> _Committed | None:
        """Return the last entry committed in an earlier term, if a log lacks it."""
        earlier = [one for one in self._committed.values() if one.term < term]
        last = max(earlier, key=lambda one: one.entry.index, default=None)
        if last is None or last.entry.index <= server.base_index:
            return None
        entry = server.log.get(last.entry.index)
        return None if entry is not None and entry.term == last.entry.term else last

    def _commits(self, step: Step, server: _Disk) -> list[Finding]:
        before, after = step.before, step.after
        for index in range(before.commit_index + 1, after.commit_index + 1):
            entry = server.log.get(index)
            if entry is None or index <= after.base_index:
                continue
            first = self._committed.setdefault(index, _Committed(entry, step.name, after.term))
            if first.entry[1:] != entry[1:]:
                return [Finding(
                    Topic.COMMIT,
                    f"takes `{entry.command}` of term {entry.term} for entry {index}; {first.name} "
                    f"committed `{first.entry.command}` of term {first.entry.term} there: State "
                    "Machine Safety",
                    "§5.4.3, Figure 3", "state.advance_commit_index",
                )]  # fmt: skip
        entry = server.log.get(after.commit_index)
        is_own = before.leads and after.leads and not self._has_lost and entry is not None
        return self._held(step, entry) if is_own and entry is not None else []

    def _held(self, step: Step, entry: Entry) -> list[Finding]:
        """Check which servers really hold an entry that a leader commits."""
        names = [
            name
            for name in electors_of(step)
            if name in self._servers and self._servers[name].holds(entry.index, entry.term)
        ]
        if step.before.is_majority(names):
            return []
        count = len(electors_of(step))
        text = f"commits entry {entry.index}, held by {among(names)} of {count}: no majority"
        return [Finding(Topic.COMMIT, text, "§5.3", "replication.advance_commit")]


def _forgotten(disk: _Disk, facts: Facts) -> list[Finding]:
    """Return what a server lost in a restart although its messages had shown it to be on disk."""
    text = ""
    if facts.term < disk.term:
        text = f"starts in term {facts.term}, though it answered in term {disk.term}"
    elif facts.term == disk.term and disk.vote not in (None, facts.vote):
        text = f"starts without its vote for {disk.vote} of term {disk.term}"
    elif facts.last_index < disk.durable_index:
        text = (
            f"starts with a log that ends at {facts.last_index}: entries up to "
            f"{disk.durable_index} were on its disk"
        )
    return [Finding(Topic.START, text, "Figure 2", "node.node_from_disk")] if text else []
