"""A pipeline of threads is carried out in order, though its leader steps down in it: no write is
done before an earlier one that was refused and waits."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

import pytest
from library.tests.rim.pipeline_nodes import Store, at, of_threads

from raftline.clients.calls.pipeline import BasePipeline
from raftline.clients.requests.search import WINDOW
from raftline.wire.refusal import NO_LEADER, not_leader
from raftline_testing.doubles.scripted_node import ScriptedNode, scripted_nodes

WRITES = 2 * WINDOW


class Cluster:
    """Nodes whose leader steps down between the writes. The next one is elected once some writes
    were refused, between two lines that a client does not send together."""

    def __init__(self, start: Callable[..., ScriptedNode], seed: int) -> None:
        chance = random.Random(seed)
        self._served_until = chance.randrange(1, WINDOW)
        self._refusals_left = chance.randrange(2 * WINDOW)
        self._next_leader = chance.randrange(2)
        self._leader: int | None = 0
        self._latest = -1  # the write that arrived last
        self._store = Store()
        self.history: list[int] = []
        self._nodes = [start(partial(self._answer, number)) for number in range(2)]
        self.address = at(*self._nodes)

    def _answer(self, node: int, command: str) -> str:
        if command.startswith("set "):
            self._lead_on(int(command.rpartition(" ")[2]))
        if self._leader is None:
            self._refusals_left -= 1
            return NO_LEADER
        if node != self._leader:
            return not_leader("s1", "localhost", self._nodes[self._leader].port)
        if command.startswith("set "):
            self.history.append(self._latest)
        return self._store.answer(command)

    def _lead_on(self, write: int) -> None:
        """Make the leader step down or the next one be elected, as a write arrives."""
        is_together, self._latest = write > self._latest, write
        if len(self.history) == self._served_until:
            self._leader = None
            if self._refusals_left <= 0 and not is_together:
                self._leader = self._next_leader


@pytest.mark.parametrize("seed", range(8))
def test_a_write_overtakes_no_earlier_one_that_waits(seed: int) -> None:
    def fill(batch: BasePipeline[str]) -> None:
        for number in range(WRITES):
            batch.set("a", str(number))

    with scripted_nodes() as start:
        cluster = Cluster(start, seed)
        of_threads(cluster.address, fill)
    assert cluster.history == [*range(WRITES)]
