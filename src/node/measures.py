"""Measures of a node's work, which it takes as it goes: counts, and times in buckets; and the
facts that it reports in `status`.

A time is counted for a group at once: all requests of a batch, one write of the disk. Whoever
adds is alone with it (the core's lock, the writer thread); a reader may see them a moment late.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from ..raft.effects import Effects
from ..raft.messages import RequestVote
from ..raft.roles import Role
from ..raft.transfer import DISK_TIMEOUTS
from ..raft.view import NodeView
from ..wire.membercommands import membership_facts
from .clock import SYSTEM, Clock

# Seconds. The upper end of each bucket; what takes longer is in one more.
BOUNDS_S: Final = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0,
]  # fmt: skip
LEASE_SHOWN_MS: Final = 3_600_000  # a node that is alone has an endless lease


class Histogram:
    """Times by bucket, and their sum."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def add(self, seconds: float, count: int = 1) -> None:
        """Count `count` events of this time each."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += count
        self.sum_s += seconds * count


class Measures:
    """All measures of one start of a node."""

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._now_s = clock.reader_s()
        self.writes = Histogram()  # requests, from their arrival until they are applied
        self.reads = Histogram()  # requests, from their arrival until they are confirmed
        self.disk = Histogram()  # writes of the files, each with its sync
        self.longest_write_s = 0.0  # of the disk, since somebody looked last and set it to 0
        self.disk_since_s = 0.0  # when the write under way began, by the clock's now_s; 0: none is
        self.elections = 0  # that this node stood in
        self.leaderships = 0  # that it won
        self.takeovers = 0  # of these, those for which the leader before asked
        self.leader_changes = 0  # that it heard of
        self._stood_term = self._led_term = self._asked_term = 0
        self._leader: str | None = None

    def stepped(self, view: NodeView, effects: Effects) -> None:
        """Look at what a step changed; the core prints a note if that is anything."""
        role, term, leader = view.role, view.term, view.leader
        for message in effects.send_after_save:
            if isinstance(message, RequestVote) and message.transfer:
                self._asked_term = term
        if role in (Role.CANDIDATE, Role.LEADER) and term != self._stood_term:
            self._stood_term = term
            self.elections += 1
        if role is Role.LEADER and term != self._led_term:
            self._led_term = term
            self.leaderships += 1
            self.takeovers += term == self._asked_term
        if leader is not None and leader != self._leader:
            self._leader = leader
            self.leader_changes += 1

    def disk_begins(self) -> None:
        """Note that a write of the files begins."""
        self.disk_since_s = self._now_s()

    @property
    def disk_waits_ms(self) -> int:
        """For how long the write under way has not ended, in milliseconds; 0 if there is none."""
        since_s = self.disk_since_s  # read once: the writer thread may end it
        return int(1000 * (self._now_s() - since_s)) if since_s else 0

    def disk_ends(self) -> None:
        """Count the write that began last."""
        taken_s = self._now_s() - self.disk_since_s
        self.disk.add(taken_s)
        self.longest_write_s = max(self.longest_write_s, taken_s)
        self.disk_since_s = 0.0


def disk_hangs(waits_ms: int, election_timeout_ms: int) -> bool:
    """Whether a write takes longer than a leader may wait for its disk."""
    return waits_ms > DISK_TIMEOUTS * election_timeout_ms


def node_facts(view: NodeView, now_ms: int) -> dict[str, object]:
    """Return what `status` prints of a node; whoever calls holds the driver's `core` lock."""
    return {
        "name": view.name,
        "role": view.role.value,
        "term": view.term,
        "leader": view.leader,
        "last_index": view.log.last_index,
        "synced_index": view.durable_index,
        "commit_index": view.commit_index,
        "last_applied": view.applied,
        "base_index": view.log.base_index,
        "snapshot_index": view.snapshot.index if view.snapshot else 0,
        "snapshot_bytes": view.snapshot.size if view.snapshot else 0,
        "arriving_bytes": view.arriving_bytes,
        "recovering": view.recovering,
        "newborn": view.newborn,
        "may_be_new": view.may_be_new,
        "no_leader_because": view.no_leader_because,
        **membership_facts(view.configurations, view.commit_index),
        "handing_over_to": view.transfer.to if view.transfer else None,
        "lease_ms": max(0, min(view.lease_until_ms - now_ms, LEASE_SHOWN_MS)),
    }
