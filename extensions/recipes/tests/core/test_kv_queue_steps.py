"""The requests of a queue, carried out by a lone state machine: what they cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from raftline.clients.calls.calls import CALLS, Call
from raftline.harness.kv_model import Model
from raftline.recipes.locks.recipe_calls import Delivery, dequeue, ending, enqueue, requeue

FEW, MANY = 500, 8_000
PREFIX = "queue/jobs/"


class Counted(dict[str, Any]):
    """Pairs that count how often a key is looked at."""

    looks = 0

    def __getitem__(self, key: str) -> Any:
        self.looks += 1
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self.looks += 1
        return super().__contains__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.looks += 1
        return super().get(key, default)

    def __iter__(self) -> Any:
        raise AssertionError("a request of a queue lists all keys")

    keys = items = values = __iter__


class Operations:
    """A queue with this many jobs, and the costs of its operations."""

    def __init__(self, jobs: int) -> None:
        self.model = Model()
        self.lease = self.model.ask(CALLS.grant(10))
        for _ in range(jobs):
            self.model.ask(enqueue(PREFIX, "value"))
        self.held = self.take()
        self.pairs = Counted(self.model.store.held)
        self.model.store.held = self.pairs
        self.bytes = 0

    def ask(self, call: Call[Any]) -> Any:
        def read(text: str) -> Any:
            self.bytes += len(text)
            return call.read(text)

        self.bytes += len(call.command)
        return self.model.ask(Call(call.command, read))

    def costs_of(self, act: Callable[[], object]) -> tuple[int, int]:
        """Return how many keys an operation looks at, and the bytes of its requests and replies."""
        self.pairs.looks = self.bytes = 0
        act()
        return self.pairs.looks, self.bytes

    def put(self) -> None:
        self.ask(enqueue(PREFIX, "value"))

    def take(self) -> Delivery:
        (job,) = self.model.ask(dequeue(PREFIX, 1, 10, f"{self.lease}/1")).jobs
        return job

    def exchange(self) -> None:
        word = ending(self.held.number, self.held.token)
        answer = self.ask(dequeue(PREFIX, 1, 10, f"{self.lease}/1", [word]))
        assert answer.ended == [self.held.number]
        assert len(answer.jobs) == 1

    def give_back(self) -> None:
        word = ending(self.held.number, self.held.token, is_back=True)
        assert self.ask(dequeue(PREFIX, 0, 10, f"{self.lease}/1", [word])).ended


@pytest.mark.parametrize("operation", ["put", "exchange", "give_back"])
def test_an_operation_costs_the_same_with_many_jobs(operation: str) -> None:
    costs = []
    for jobs in (FEW, MANY):
        queue = Operations(jobs)
        costs.append(queue.costs_of(getattr(queue, operation)))
    (few_looks, few_bytes), (many_looks, many_bytes) = costs
    assert many_looks == few_looks < 100
    assert many_bytes <= few_bytes + 20  # the numbers of the jobs are longer
    assert few_bytes < 300


def test_the_calls_of_a_queue_read_what_a_node_answers() -> None:
    model = Model()
    claim = f"{model.ask(CALLS.grant(10))}/7"
    number = model.ask(enqueue("queue/my jobs/", " ü\n"))
    taken = model.ask(dequeue("queue/my jobs/", 3, 1, claim))
    assert taken.jobs == [Delivery(number, model.store.number, 1, " ü\n")]
    assert (taken.ended, taken.place) == ([], None)
    assert model.ask(dequeue("queue/my jobs/", 1, 1, claim, now=True)).place is None
    place = model.ask(dequeue("queue/my jobs/", 1, 1, claim)).place
    assert place == f"queue/my jobs/idle/{model.store.number:019}/1.1/{claim}"
    back = [ending(number, taken.jobs[0].token, is_back=True)]
    assert model.ask(dequeue("queue/my jobs/", 0, 1, claim, back)).ended == [number]
    assert model.ask(requeue("queue/my jobs/", number))
    assert not model.ask(requeue("queue/my jobs/", number))
