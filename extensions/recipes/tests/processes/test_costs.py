"""The table of costs in python.md: requests and entries of each operation on locks, counted at real
nodes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import raftline
from raftline.clients.kv.shared import ThreadTransport
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import DEADLINE_S, eventually
from tests.processes.typed import at

WAITERS = 20


class Costs:
    """Counts the requests of this process, except renewals, and the entries of the cluster."""

    def __init__(self, kv: raftline.KV[str]) -> None:
        self._kv = kv
        self.requests: list[str] = []
        self._index = 0

    def begin(self) -> None:
        """Count from now on."""
        self._index = self._mark()
        self.requests.clear()

    def end(self) -> tuple[int, int]:
        """Return the requests and the entries since `begin`."""
        requests = len(self.requests)
        return requests, self._mark() - self._index - 1

    def _mark(self) -> int:
        """Return the index of an entry of this request."""
        self._kv.set("mark", "")
        stat = self._kv.stat("mark")
        assert stat is not None
        return stat.index


@pytest.fixture
def costs(nodes: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Costs]:
    with raftline.connect(at(nodes)) as beside:
        counted = Costs(beside)
        request = ThreadTransport.request

        def counts(transport: ThreadTransport, command: str, *more: Any) -> str:
            if not command.startswith("renew "):
                counted.requests.append(command)
            return request(transport, command, *more)

        monkeypatch.setattr(ThreadTransport, "request", counts)
        yield counted


@pytest.fixture
def client(nodes: Cluster) -> Iterator[raftline.KV[str]]:
    """A client with a session, and with the lease of its claims."""
    with raftline.connect(at(nodes)) as kv:
        kv.set("begun", "")
        with kv.lock("first"):
            pass
        yield kv


KINDS: dict[str, Callable[[raftline.KV[str]], Any]] = {
    "lock": lambda kv: kv.lock("cost").acquire(),
    "shared lock": lambda kv: kv.lock("cost", shared=True).acquire(),
    "semaphore": lambda kv: kv.semaphore("cost", 3).acquire(),
    "election": lambda kv: kv.election("cost").campaign("host1"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_acquire_and_release_cost_one_request_and_entry_each(
    client: raftline.KV[str], costs: Costs, kind: str
) -> None:
    """An acquisition and a release are one request and one entry each."""
    costs.begin()
    held = KINDS[kind](client)
    assert costs.end() == (1, 1)
    costs.begin()
    held.release()
    assert costs.end() == (1, 1)


def test_the_first_acquisition_also_has_a_lease_granted(nodes: Cluster, costs: Costs) -> None:
    with raftline.connect(at(nodes)) as kv:
        kv.set("begun", "")
        costs.begin()
        held = kv.lock("cost").acquire()
        assert costs.end() == (2, 2)
        held.release()


def test_a_single_try_reads_first(client: raftline.KV[str], costs: Costs) -> None:
    costs.begin()
    held = client.lock("cost").acquire(timeout=0)
    assert costs.end() == (2, 1)
    costs.begin()
    assert client.lock("cost").acquire(timeout=0) is None
    assert costs.end() == (1, 0)
    assert held is not None
    held.release()


def test_a_lock_with_a_lease_of_its_own_costs_three_entries(
    client: raftline.KV[str], costs: Costs
) -> None:
    costs.begin()
    with client.lock("cost", own_lease=True):
        pass
    assert costs.end() == (3, 3)


@pytest.mark.parametrize("clients", [1, WAITERS])
def test_waiting_for_others_costs_no_entry(nodes: Cluster, costs: Costs, clients: int) -> None:
    """However many wait, in one program or in many."""
    kvs = [raftline.connect(at(nodes)) for _ in range(clients)]
    for kv in kvs:
        kv.set("begun", "")
        with kv.lock("first"):
            pass
    order: list[int] = []

    def works(number: int) -> None:
        with kvs[number % clients].lock("cost") as held:
            order.append(held.token)

    with raftline.connect(at(nodes)) as holder:
        first = holder.lock("cost").acquire()
        costs.begin()
        threads = [
            threading.Thread(target=works, args=(number,), daemon=True) for number in range(WAITERS)
        ]
        for thread in threads:
            thread.start()
        assert eventually(lambda: len(list(holder.keys("lock/cost/line/"))) == clients)
        first.release()
        for thread in threads:
            thread.join(DEADLINE_S)
        _, entries = costs.end()
    assert order == sorted(order)
    assert len(order) == WAITERS
    assert entries == 2 * WAITERS + 1
    for kv in kvs:
        kv.close()
