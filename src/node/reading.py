"""How a read is served: what the request asks for, else what the node was started with. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from raftline.raft.effects import Effects
from raftline.raft.inputs import Read
from raftline.raft.node import Node

if TYPE_CHECKING:
    from raftline.node.batch import Batch


class Reading(NamedTuple):
    """One way to serve reads; a run of equal ones shares a confirmation."""

    by_lease: bool = False  # under the leader's lease while it has one (thesis §6.4.1)
    may_ask: bool = False  # a follower asks the leader for its read index instead of naming it


BY_ROUND = Reading()


class Readings(NamedTuple):
    """What a node was told about reads when it was started."""

    mode: str = "index"
    at_followers: bool = False

    def kind_of(self, verb: str, asked_for: str) -> tuple[str, Reading]:
        """Return whether a get or show is a "write" (an entry of its own), a "read" that is
        confirmed, or "local"; and how it is confirmed.

        `asked_for` is the mode behind `read` in the request, "" where there is none. A show is
        never an entry: its reply would be as long as the state machine.
        """
        mode = asked_for or self.mode
        if mode == "local":
            return "local", BY_ROUND
        if mode == "log" and verb == "get":
            return "write", BY_ROUND
        return "read", Reading(mode == "lease", self.at_followers or asked_for == "index")


def read_as_leader(node: Node, batches: Sequence[Batch], now: int) -> Iterator[Effects]:
    """Yield the steps that confirm a leader's reads, under its lease where that is asked for."""
    reads = [batch for batch in batches if batch.is_read]
    leased = [batch for batch in reads if batch.reading.by_lease]
    by_round = [batch for batch in reads if not batch.reading.by_lease]
    if leased:
        yield node.step(Read(leased, by_lease=True), now)
    if by_round:
        yield node.step(Read(by_round), now)
