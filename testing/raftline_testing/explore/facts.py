"""The facts of a whole world: the leader of each term, and the committed entries.

Each event of one server is checked against these facts, and against the current state of the other
servers. All of it holds within one cluster, which is known by its identity; at the floor there is
one cluster, without an identity. A second cluster is a violation while any disk holds committed
entries of the first, unless the servers were told not to wait for silent members.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from raftline.raft.log import Entry

from .explored_server import Disk, Event, Lost


class Violation(Exception):
    """A world that Raft rules out."""


class Past(NamedTuple):
    """The part of one cluster's past that later steps may contradict."""

    leaders: tuple[tuple[int, str], ...] = ()  # of each term
    committed: tuple[Entry, ...] = ()
    commit_terms: tuple[int, ...] = ()  # in which each was first seen as committed
    logs: tuple[tuple[int, tuple[Entry, ...]], ...] = ()  # of each term's leader, at its longest

    def after(self, event: Event) -> Past:
        """Return the past including this event.

        Raises:
            Violation: Election Safety, Leader Completeness, Log Matching or State Machine Safety.
        """
        past = self
        if event.elected is not None:
            past = past._with_leader(event.name, event.term, event.elected[0])
        if event.log is not None:
            past = past._with_log(event, event.log)
        if event.committed is not None:
            past = past._with_committed(event.name, event.term, event.committed[1])
        return past

    def _with_leader(self, name: str, term: int, log: tuple[Entry, ...]) -> Past:
        leader = dict(self.leaders).get(term, name)
        if leader != name:
            raise Violation(f"{leader} and {name} lead term {term}")
        for entry, commit_term in zip(self.committed, self.commit_terms, strict=True):
            if commit_term < term and log[entry.index - 1 : entry.index] != (entry,):
                raise Violation(f"{name} leads term {term} without {entry}, which is committed")
        return self._replace(leaders=tuple(sorted({*self.leaders, (term, name)})))

    def _with_log(self, event: Event, log: tuple[Entry, ...]) -> Past:
        """Return the past including a leader's log, against which the others' are checked."""
        logs = dict(self.logs)
        if event.leads:
            logs[event.term] = log
            return self._replace(logs=tuple(sorted(logs.items())))
        if log and logs.get(log[-1].term, ())[: len(log)] != log:
            raise Violation(
                f"{event.name} holds {list(log)}, and no leader of that cluster and of term "
                f"{log[-1].term} held that"
            )
        return self

    def _with_committed(self, name: str, term: int, entries: tuple[Entry, ...]) -> Past:
        for committed, entry in zip(self.committed, entries):  # noqa: B905
            if committed != entry:
                raise Violation(f"{name} takes {entry} for committed, others {committed}")
        new = entries[len(self.committed) :]
        return self._replace(
            committed=(*self.committed, *new), commit_terms=(*self.commit_terms, *[term] * len(new))
        )


class History(NamedTuple):
    """The part of the past that later steps may contradict."""

    clusters: tuple[tuple[str, Past], ...] = ()  # by identity
    ran: tuple[str, ...] = ()  # servers that have started, in a world in which some have not
    second: str = ""  # how there came to be a second cluster

    def of(self, cluster: str = "") -> Past:
        """Return the past of a cluster."""
        return dict(self.clusters).get(cluster, Past())

    def after(self, event: Event, others: Sequence[Other], *, waits: bool) -> History:
        """Return the history including this event, next to these servers; `waits` tells whether
        the servers wait for all members before they begin.

        Raises:
            Violation: the event contradicts the history.
        """
        if event.ran:
            return self._replace(ran=tuple(sorted({*self.ran, event.name})))
        history = self
        if event.elected is not None:
            self._check_told(event, others)
            if waits:
                self._check_term(event, others)
        if event.committed is not None and not self.of(event.cluster).committed:
            history = self._replace(second=self._second(event, others, waits) or self.second)
        past = self.of(event.cluster).after(event)
        if past == self.of(event.cluster):
            return history
        return history._replace(
            clusters=tuple(sorted({**dict(self.clusters), event.cluster: past}.items()))
        )

    def _firsts(self) -> set[Entry]:
        """Return the first entry of each cluster that has committed one."""
        return {past.committed[0] for _, past in self.clusters if past.committed}

    def _check_told(self, event: Event, others: Sequence[Other]) -> None:
        """A server without files that was told of entries helps to elect no leader without them."""
        told = [one.name for one in others if one.has_heard and event.elects(one.name)]
        if told and self._firsts() and event.cluster not in dict(self.clusters):
            raise Violation(f"{event.name} begins a cluster, though {told[0]} was told of entries")

    def _check_term(self, event: Event, others: Sequence[Other]) -> None:
        """No two servers lead one term at once, whatever identity each gives to its log."""
        for one in others:
            if one.leads == event.term and one.name != event.name:
                raise Violation(f"{one.name} and {event.name} lead term {event.term}")

    def _second(self, event: Event, others: Sequence[Other], waits: bool) -> str:
        """Return how there came to be a second cluster, if the event is its first commit.

        Raises:
            Violation: a disk holds the data of the first one, and was not waited for.
        """
        firsts = self._firsts()
        if not firsts:
            return ""
        holders = [one.name for one in others if firsts.intersection(one.disk.entries[:1])]
        if not holders:
            return "no disk held the data"
        lost = [
            one.name
            for one in others
            if any(firsts.intersection(past.disk.entries[:1]) for past in one.lost)
        ]
        if waits or not lost:
            raise Violation(
                f"{event.name} commits entries of a second cluster, and {' and '.join(holders)} "
                f"hold those of the first; files were lost of {' and '.join(lost) or 'nobody'}"
            )
        return f"the files of {len(lost)} of {len(others)} servers were lost"


class Other(NamedTuple):
    """The facts of a server against which another server's event is checked."""

    name: str
    disk: Disk
    cast: tuple[tuple[int, str], ...]
    leads: int  # the term
    log: tuple[Entry, ...]  # of a leader
    lost: tuple[Lost, ...]
    has_heard: bool
    is_wrong: bool
    cluster: str  # of a leader's log
    holds_lease: bool

    def held(self, index: int, term: int) -> bool:
        """Whether its disk holds this entry, or a disk that it lost did."""
        return any(
            disk.holds(index, term) for disk in (self.disk, *[one.disk for one in self.lost])
        )

    @property
    def votes(self) -> set[tuple[int, str]]:
        """All votes that it ever cast."""
        return {*self.cast}.union(*[one.cast for one in self.lost])


def check_others(event: Event, servers: Sequence[Other]) -> None:
    """Check an event against all servers, including its origin.

    Raises:
        Violation: a vote, a disk or a lease contradicts it.
    """
    by_name = {server.name: server for server in servers}
    if event.elected is not None:
        _check_votes(event, event.elected[1], by_name)
    if event.committed is not None:
        _check_leaders(event, event.committed[1], servers)
    if event.quorum_of is not None and event.committed is not None:
        _check_disks(event, event.committed[1][-1], by_name)
    if event.held is not None:
        _check_held(event, event.held, by_name)
    if event.lease or event.elected is not None:
        _check_leases(event, servers)
    if event.differs:
        _check_verdict(event, servers)


def _check_votes(event: Event, voters: tuple[str, ...], servers: dict[str, Other]) -> None:
    """Mistake 7: a vote of another term, or a PreVote, made a leader."""
    for voter in voters:
        if voter != event.name and (event.term, event.name) not in servers[voter].votes:
            raise Violation(
                f"{event.name} leads term {event.term} by a vote that {voter} did not give"
            )


def _check_leaders(event: Event, entries: tuple[Entry, ...], servers: Sequence[Other]) -> None:
    """Leader Completeness, for an entry that is committed after the election."""
    for server in servers:
        if server.cluster != event.cluster:
            continue
        if server.leads > event.term and server.log[: len(entries)] != entries:
            raise Violation(
                f"{event.name} commits {entries[-1]} in term {event.term}, but {server.name} leads "
                f"term {server.leads} without it"
            )


def _check_disks(event: Event, last: Entry, servers: dict[str, Other]) -> None:
    """A quorum of disks holds the entry that a leader commits, and it has the leader's own term."""
    members = event.quorum_of
    assert members is not None
    for half in (members.voters, members.outgoing or members.voters):
        holders = [name for name in half if servers[name].held(last.index, last.term)]
        if 2 * len(holders) <= len(half) or last.term != event.term:
            raise Violation(
                f"{event.name} commits entry {last.index} of term {last.term} in term "
                f"{event.term}, on the disks of {holders} only, out of {list(half)}"
            )


def _check_held(event: Event, held: tuple[str, int, int], servers: dict[str, Other]) -> None:
    """Mistake 33: an acknowledgement of another term counts. A follower in a later term may have
    truncated the entries meanwhile."""
    name, index, term = held
    disk = servers[name].disk
    if disk.term <= event.term and not servers[name].held(index, term):
        raise Violation(
            f"{event.name} takes {name} to hold entry {index} of term {term}, "
            f"its disk has {list(disk.entries)}"
        )


def _check_leases(event: Event, servers: Sequence[Other]) -> None:
    """While a leader holds a lease, no server leads a later term."""
    for server in servers:
        if not server.holds_lease:
            continue
        later = [other.name for other in servers if other.leads > server.leads]
        if later:
            raise Violation(
                f"{server.name} holds a lease in term {server.leads}, and {later[0]} leads a later "
                "one"
            )


def _check_verdict(event: Event, servers: Sequence[Other]) -> None:
    """A server with the right state is never told to drop it while most are right."""
    wrong = [server.name for server in servers if server.is_wrong]
    if event.name not in wrong and 2 * len(wrong) < len(servers):
        raise Violation(f"{event.name} drops its state, and that of {' and '.join(wrong)} is wrong")
