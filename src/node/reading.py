"""The steps of the core that confirm a leader's reads. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from raftline.net.batch import Batch
from raftline.raft.effects import Effects
from raftline.raft.node import Node


def read_as_leader(node: Node, batches: Sequence[Batch], now: int) -> Iterator[Effects]:
    """Yield the steps that confirm a leader's reads, under its lease where that is asked for."""
    reads = [batch for batch in batches if batch.is_read]
    leased = [batch for batch in reads if batch.reading.by_lease]
    by_round = [batch for batch in reads if not batch.reading.by_lease]
    if leased:
        yield node.read_leased(leased, now)
    if by_round:
        yield node.read(by_round, now)
