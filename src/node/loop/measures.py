"""Measures of a node's work (counts, and times in buckets), and the facts of `status`.

A time is counted for a whole group: all requests of a batch, or one write of the disk. Only one
thread at a time adds to a measure (with the core's lock, or as the writer thread). A reader may see
values that are a moment old.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from ...raft.effects import Effects
from ...raft.messages import RequestVote
from ...raft.node_view import NodeView
from ...raft.roles import Role
from ...raft.state import DISK_TIMEOUTS
from ...wire.commands.member_commands import membership_facts
from ..clock import SYSTEM, Clock

# Seconds. The upper end of each bucket; longer times are in one more bucket.
BOUNDS_S: Final = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0,
]  # fmt: skip
LEASE_SHOWN_MS: Final = 3_600_000  # the lease of a single node is endless


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
    """The measures of a node since its start."""

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._now_s = clock.reader_s()
        self.writes = Histogram()  # requests, from their arrival until they are applied
        self.reads = Histogram()  # requests, from their arrival until they are confirmed
        self.disk = Histogram()  # writes of the files, each with its sync
        self.longest_write_s = 0.0  # of the disk; the reader resets it to 0
        self.disk_since_s = 0.0  # when the current write began, by the clock's now_s; 0: none
        self.elections = 0  # in which this node was a candidate
        self.leaderships = 0  # elections that it won
        self.takeovers = 0  # leaderships that the previous leader transferred to it
        self.leader_changes = 0  # changes of the leader that it knows
        self._stood_term = self._led_term = self._asked_term = 0
        self._leader: str | None = None

    def stepped(self, view: NodeView, effects: Effects) -> None:
        """Count the changes of a step; the core prints a note for each of them."""
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
        """How long the current write has taken so far, in milliseconds; 0 if there is none."""
        since_s = self.disk_since_s  # read once: the writer thread may end it
        return int(1000 * (self._now_s() - since_s)) if since_s else 0

    def disk_ends(self) -> None:
        """Count the write that has ended."""
        duration_s = self._now_s() - self.disk_since_s
        self.disk.add(duration_s)
        self.longest_write_s = max(self.longest_write_s, duration_s)
        self.disk_since_s = 0.0


def disk_hangs(waits_ms: int, election_timeout_ms: int) -> bool:
    """Whether a write takes longer than a leader may wait for its disk."""
    return waits_ms > DISK_TIMEOUTS * election_timeout_ms


def node_facts(view: NodeView, now_ms: int) -> dict[str, object]:
    """Return the facts of a node for `status`; the caller holds the driver's `core` lock."""
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
        "differs": view.differing,
        "undecided": view.undecided,
        "state_sums": {
            str(index): [f"{summed.chain:08x}", f"{summed.sum:016x}"]
            for index, summed in view.state_sums.items()
        },
        "newborn": view.newborn,
        "may_be_new": view.may_be_new,
        "no_leader_because": view.no_leader_because,
        **membership_facts(view.configurations, view.commit_index),
        "handing_over_to": view.transfer.to if view.transfer else None,
        "lease_ms": max(0, min(view.lease_until_ms - now_ms, LEASE_SHOWN_MS)),
    }
