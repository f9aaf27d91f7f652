"""The facts of a whole world: the leader of each term, and the committed entries.

Each event of one server is checked against these facts, and against the current state of the other
servers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from raftline.raft.log import Entry

from .explored_server import Disk, Event


class Violation(Exception):
    """A world that Raft rules out."""


class History(NamedTuple):
    """The part of the past that later steps may contradict."""

    leaders: tuple[tuple[int, str], ...] = ()  # of each term
    committed: tuple[Entry, ...] = ()
    commit_terms: tuple[int, ...] = ()  # in which each was first seen as committed

    def after(self, event: Event) -> History:
        """Return the history including this event.

        Raises:
            Violation: Election Safety, Leader Completeness or State Machine Safety.
        """
        history = self
        if event.elected is not None:
            history = history._with_leader(event.name, event.term, event.elected[0])
        if event.committed is not None:
            history = history._with_committed(event.name, event.term, event.committed[1])
        return history

    def _with_leader(self, name: str, term: int, log: tuple[Entry, ...]) -> History:
        leader = dict(self.leaders).get(term, name)
        if leader != name:
            raise Violation(f"{leader} and {name} lead term {term}")
        for entry, commit_term in zip(self.committed, self.commit_terms, strict=True):
            if commit_term < term and log[entry.index - 1 : entry.index] != (entry,):
                raise Violation(f"{name} leads term {term} without {entry}, which is committed")
        return self._replace(leaders=tuple(sorted({*self.leaders, (term, name)})))

    def _with_committed(self, name: str, term: int, entries: tuple[Entry, ...]) -> History:
        for committed, entry in zip(self.committed, entries):  # noqa: B905
            if committed != entry:
                raise Violation(f"{name} takes {entry} for committed, others {committed}")
        new = entries[len(self.committed) :]
        return self._replace(
            committed=(*self.committed, *new), commit_terms=(*self.commit_terms, *[term] * len(new))
        )


class Other(NamedTuple):
    """The facts of a server against which another server's event is checked."""

    name: str
    disk: Disk
    cast: tuple[tuple[int, str], ...]
    leads: int  # the term
    log: tuple[Entry, ...]  # of a leader
    holds_lease: bool


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


def _check_votes(event: Event, voters: tuple[str, ...], servers: dict[str, Other]) -> None:
    """Mistake 7: a vote of another term, or a PreVote, made a leader."""
    for voter in voters:
        if voter != event.name and (event.term, event.name) not in servers[voter].cast:
            raise Violation(
                f"{event.name} leads term {event.term} by a vote that {voter} did not give"
            )


def _check_leaders(event: Event, entries: tuple[Entry, ...], servers: Sequence[Other]) -> None:
    """Leader Completeness, for an entry that is committed after the election."""
    for server in servers:
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
        holders = [name for name in half if servers[name].disk.holds(last.index, last.term)]
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
    if disk.term <= event.term and not disk.holds(index, term):
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
