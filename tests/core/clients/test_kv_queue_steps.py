"""The requests of a queue, carried out by a lone state machine: what they cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from raftline.clients.calls.calls import CALLS, Call
from raftline.clients.calls.value_codec import TEXT
from raftline.clients.locks.queue_steps import QueueState
from raftline.clients.requests.steps import carry_out
from tests.core.clients.kv_model import Model

FEW, MANY = 1_000, 100_000


class Counted(dict[str, str]):
    """Pairs that count how often a key is looked at."""

    looks = 0

    def __getitem__(self, key: str) -> str:
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
        self.queue = QueueState("jobs", None, TEXT)
        keys = self.queue.keys
        for number in range(1, jobs + 1):
            self.model.store[keys.job(number)] = "value"
        self.model.store[keys.tail] = str(jobs)
        assert not self.model.store.has_keys_under(keys.places)  # the first question sorts the keys
        self.pairs = Counted(self.model.store.held)
        self.model.store.held = self.pairs
        self.bytes = 0
        self.lease = self.ask(CALLS.grant(10))
        assert self._carry_out(self.queue.waiting()) == jobs
        self.take()

    def ask(self, call: Call[Any]) -> Any:
        def read(text: str) -> Any:
            self.bytes += len(text)
            return call.read(text)

        self.bytes += len(call.command)
        return self.model.ask(Call(call.command, read))

    def _carry_out(self, steps: Any) -> Any:
        return carry_out(steps, lambda step: self.ask(step.call))

    def costs_of(self, act: Callable[[], object]) -> tuple[int, int]:
        """Return how many keys an operation looks at, and the bytes of its requests and replies."""
        self.pairs.looks = self.bytes = 0
        act()
        return self.pairs.looks, self.bytes

    def put(self) -> None:
        self._carry_out(self.queue.put("value"))

    def take(self) -> None:
        assert self._carry_out(self.queue.next("worker", self.lease, None, True)) is not None

    def take_again(self) -> None:
        self.ask(CALLS.clear(self.queue.keys.held_by()))
        self.queue.lost.append((1, 1))
        assert self._carry_out(self.queue.again("worker", self.lease, None)) is not None


@pytest.mark.parametrize("operation", ["put", "take", "take_again"])
def test_an_operation_costs_the_same_with_many_jobs(operation: str) -> None:
    costs = []
    for jobs in (FEW, MANY):
        queue = Operations(jobs)
        if operation == "put":
            queue.put()  # the first one guesses
        costs.append(queue.costs_of(getattr(queue, operation)))
    (few_looks, few_bytes), (many_looks, many_bytes) = costs
    assert many_looks == few_looks < 100
    assert many_bytes <= few_bytes + 20  # the numbers of the jobs are longer
    assert few_bytes < 2000


def test_a_program_puts_a_job_into_a_queue_that_was_cleared_meanwhile() -> None:
    model, queue = Model(), QueueState("jobs", None, TEXT)
    asked: list[str] = []

    def do(step: Any) -> Any:
        asked.append(step.call.command)
        assert len(asked) < 10, "it asks the same again and again"
        return model.ask(step.call)

    assert [carry_out(queue.put("a"), do) for _ in range(3)] == [1, 2, 3]
    model.ask(CALLS.clear(queue.keys.prefix))
    assert carry_out(queue.put("b"), do) == 1
    assert model.ask(CALLS.get(queue.keys.job(1))) == "b"
