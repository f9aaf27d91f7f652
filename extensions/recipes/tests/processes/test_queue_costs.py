"""The costs of a queue's operations at real nodes: the table of docs/use/queues.md."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import raftline
import raftline.aio
from raftline.clients.requests.pool import Clients
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import DEADLINE_S, eventually
from tests.processes.typed import at

PAGE = Path(__file__).parents[4] / "docs" / "use" / "queues.md"
ROW = re.compile(r"\| ([^|]+) \| ([0-9]+) \| ([0-9]+) \| ([0-9]+) \|")
TTL_S = 600  # no job's lease ends meanwhile


class Counts:
    """The requests of a client without renewals, whose number depends on the time, and the entries
    and syncs of all nodes, since the last look."""

    def __init__(self, nodes: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
        self._nodes = nodes
        self.requests: list[str] = []
        request = Clients.request

        def noted(clients: Clients, command: str, timeout: float) -> str:
            if not command.startswith("renew "):
                self.requests.append(command)
            return request(clients, command, timeout)

        monkeypatch.setattr(Clients, "request", noted)
        self.look()

    def look(self) -> tuple[int, int, int]:
        """Return how many there were: requests, entries, syncs."""
        asked, self.requests = len(self.requests), []
        entries = self._nodes.wait_until_on_all_disks()
        syncs = sum(node.status()["syncs"] for node in self._nodes.running)
        had = getattr(self, "_had", (0, 0))
        self._had = entries, syncs
        return asked, entries - had[0], syncs - had[1]


@pytest.fixture
def counts(three: Cluster, monkeypatch: pytest.MonkeyPatch) -> Counts:
    three.wait_until_begun()
    return Counts(three, monkeypatch)


@pytest.fixture
def client(three: Cluster) -> Iterator[raftline.KV[str]]:
    with raftline.connect(at(three)) as kv:
        kv.set("session", "begun")
        yield kv


def costs_of(operation: str) -> tuple[int, ...]:
    """Return the costs of an operation as the page has them: requests, entries, syncs at most."""
    rows = {row[1]: row.groups()[1:] for row in map(ROW.fullmatch, lines_of(PAGE)) if row}
    return tuple(map(int, rows[operation]))


def lines_of(page: Path) -> list[str]:
    return page.read_text().splitlines()


def expect(counts: Counts, operation: str) -> None:
    requests, entries, syncs = counts.look()
    assert (requests, entries) == costs_of(operation)[:2], operation
    assert syncs <= costs_of(operation)[2], operation


def test_the_first_take_also_has_a_lease_granted(client: raftline.KV[str], counts: Counts) -> None:
    """The first take of a client costs one request and one entry more, and the first that has to
    wait two more of each: for the lease of its place, and for the try before."""
    jobs = client.queue("jobs")
    jobs.put("a")
    counts.look()
    first = jobs.take(TTL_S)
    assert counts.look()[:2] == (2, 2)
    first.done()
    counts.look()
    assert jobs.take(TTL_S, timeout=0.1) is None
    waited = counts.look()[:2]
    assert jobs.take(TTL_S, timeout=0.1) is None
    assert waited == tuple(each + 2 for each in counts.look()[:2])


def test_an_operation_costs_what_the_page_says(client: raftline.KV[str], counts: Counts) -> None:
    jobs = client.queue("jobs")
    assert jobs.take(TTL_S, timeout=0.1) is None  # the first take of a client grants the leases
    counts.look()

    jobs.put("a")
    expect(counts, "`put`")
    job = jobs.take(TTL_S)
    expect(counts, "`take`, a job is there")
    job.done()
    expect(counts, "`job.done()`")
    client.txn().then.set("state", "due").put(jobs, "b").put(client.queue("others"), "b").commit()
    expect(counts, "`kv.txn().….put(…).commit()`, however many")
    job = jobs.take(TTL_S)
    counts.look()
    job.done(client.txn().then.set("result", "b"))
    expect(counts, "`job.done(txn)`")
    for number in range(24):
        jobs.put(str(number))
    job = jobs.take(TTL_S)
    counts.look()
    following = jobs.take(TTL_S, done=job)
    expect(counts, "`take(done=job)`, a job is there")
    following.release()
    expect(counts, "`job.release()`")
    batch = jobs.take_many(10, TTL_S)
    expect(counts, "`take_many(10)`")
    jobs.done(batch[:5])
    expect(counts, "`queue.done(jobs)` of one take")
    batch = jobs.take_many(10, TTL_S, done=batch[5:])
    expect(counts, "`take_many(10, done=jobs)`")
    jobs.done(batch)
    jobs.done(jobs.take_many(10, TTL_S))
    assert jobs.take(TTL_S, timeout=0) is None
    counts.look()
    assert jobs.take(TTL_S, timeout=0) is None
    expect(counts, "`take(timeout=0)` of an empty queue, again")
    assert jobs.take(TTL_S, timeout=0.1) is None
    expect(counts, "`take(timeout=5)`, no job comes")


def test_an_idle_worker_costs_nothing_until_its_job_comes(
    three: Cluster, client: raftline.KV[str], counts: Counts
) -> None:
    jobs, taken = client.queue("jobs"), []
    worker = threading.Thread(target=lambda: taken.append(jobs.take(TTL_S)))
    worker.start()
    eventually(lambda: any(client.keys("queue/jobs/idle/")), "a place in line")
    counts.look()
    client.set("session", "begun")  # of the connection that the worker uses next
    with raftline.connect(at(three)) as other:
        other.set("session", "begun")
        counts.look()
        assert not taken
        assert counts.look()[:2] == (0, 0)
        other.queue("jobs").put("late")
        worker.join(DEADLINE_S)
        requests, entries, _ = counts.look()
        assert (requests, entries) == (2, 2)  # the put; and the worker takes the job over
    taken[0].done()


def test_puts_of_tasks_that_wait_together_cost_an_entry_each(
    three: Cluster, client: raftline.KV[str], counts: Counts
) -> None:
    count = 100

    async def put() -> None:
        async with raftline.aio.connect(at(three)) as kv:
            jobs = kv.queue("together")
            await jobs.put("first")
            counts.look()
            numbers = await asyncio.gather(*(jobs.put(str(each)) for each in range(count)))
            assert counts.look()[1] == count
            assert numbers == sorted(set(numbers))

    asyncio.run(put())
    values = [job.value for job in client.queue("together").take_many(count + 1)]
    assert values == ["first", *map(str, range(count))]


def test_puts_of_threads_cost_an_entry_each(client: raftline.KV[str], counts: Counts) -> None:
    jobs, numbers = client.queue("threads"), list[int]()
    put: Callable[[], None] = lambda: numbers.append(jobs.put("a"))  # noqa: E731
    threads = [threading.Thread(target=put) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert len(set(numbers)) == 20
    sessions_of_threads = 20
    assert counts.look()[1] <= 20 + sessions_of_threads
