"""CPython's own tests of mappings, lists and queues, on raftline's collections.

`test.mapping_tests`, `test.list_tests` and `test.test_queue` run as they come with Python. Some
differ on purpose; docs/use/objects.md ("Differences from Python's own types") says how.
"""

from __future__ import annotations

import itertools
import queue
import unittest
from typing import Any

import pytest
from library.tests.rim.cpython_suites import cases_of, problems

import raftline
from raftline.harness.lone_cluster import LoneCluster

WHY = "this Python comes without its own tests"
mappings = pytest.importorskip("test.mapping_tests", reason=WHY)
lists = pytest.importorskip("test.list_tests", reason=WHY)
queues = pytest.importorskip("test.test_queue", reason=WHY)
_numbers = itertools.count()


def name() -> str:
    return f"n{next(_numbers)}"


class Dict(raftline.ReplicatedDict):
    """Made as a dict is."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(name(), LoneCluster())
        if given or more:
            self.update(*given, **more)


class List(raftline.ReplicatedList):
    """Made as a list is."""

    def __init__(self, given: Any = ()) -> None:
        super().__init__(name(), LoneCluster())
        self.extend(given)


class Queue(raftline.ReplicatedQueue):
    """Made as a queue is."""

    def __init__(self, maxsize: int = 0) -> None:
        super().__init__(name(), LoneCluster(), maxsize=maxsize)


class OfMappings(mappings.BasicTestMappingProtocol):  # type: ignore[name-defined]
    __test__ = False
    type2test = Dict


class OfLists(lists.CommonTest):  # type: ignore[name-defined]
    __test__ = False
    type2test = List


class OfQueues(queues.BaseQueueTestMixin, unittest.TestCase):  # type: ignore[name-defined]
    __test__ = False
    queue = queue
    type2test = Queue


# Meant to differ: a test's name, and the row of the page that says why.
HOLDS_JSON = "holds what JSON can"
ON_A_COPY = "`+`, `*`, `sort` work on a copy"
REPR = "`repr` asks no node"
DIFFER: dict[type[Any], dict[str, str]] = {
    OfMappings: {"test_update": HOLDS_JSON, "test_write": HOLDS_JSON},
    OfLists: {
        "test_addmul": ON_A_COPY,
        "test_contains_fake": HOLDS_JSON,
        "test_contains_order": HOLDS_JSON,
        "test_index": HOLDS_JSON,
        "test_remove": HOLDS_JSON,
        "test_repr_deep": HOLDS_JSON,
        "test_copy": ON_A_COPY,
        "test_count": ON_A_COPY,
        "test_extend": ON_A_COPY,
        "test_imul": ON_A_COPY,
        "test_repeat": ON_A_COPY,
        "test_sort": ON_A_COPY,
        "test_exhausted_iterator": "a loop goes over a copy",
        "test_pickle": "`copy` and `pickle` refuse it",
        "test_repr": REPR,
        "test_setitem": "the words of a TypeError",
    },
    OfQueues: {},
}
LEFT_OUT = {
    "test_free_after_iterating",  # when CPython frees an iterator's list
    "test_queue_join",  # no `join`, no `task_done`: threads would wait for ever
    "test_queue_task_done",
}
CASES = [each for each in cases_of(DIFFER, LEFT_OUT) if "shutdown" not in each.id]


@pytest.mark.parametrize(("suite", "name"), CASES)
def test_a_collection_is_one_as_cpython_s_tests_have_it(
    suite: type[unittest.TestCase], name: str
) -> None:
    found = problems(suite, name)
    assert bool(found) == (name in DIFFER[suite]), found


@pytest.mark.parametrize("method", ["join", "task_done", "shutdown"])
def test_a_replicated_queue_knows_of_no_jobs_that_are_done(method: str) -> None:
    assert not hasattr(raftline.ReplicatedQueue, method)
