"""Replicated objects as Python's own: what each collection promises, and how it says no."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable, MutableMapping, MutableSequence, MutableSet
from typing import Any

import pytest

import raftline
from raftline.clients.requests.conversation import Client
from raftline.clients.requests.pool import Clients
from raftline.harness.lone_cluster import LoneCluster


@pytest.fixture
def cluster() -> LoneCluster:
    return LoneCluster()


def shared_set(cluster: LoneCluster, *items: Any) -> raftline.ReplicatedSet:
    found = raftline.ReplicatedSet("tags", node=cluster)
    found |= items
    cluster.asked.clear()
    return found


def test_each_collection_is_an_instance_of_its_python_interface(cluster: LoneCluster) -> None:
    assert isinstance(raftline.ReplicatedDict("d", node=cluster), MutableMapping)
    assert isinstance(raftline.ReplicatedList("l", node=cluster), MutableSequence)
    assert isinstance(raftline.ReplicatedSet("s", node=cluster), MutableSet)
    assert not cluster.asked  # to name an object asks nobody


SET_USES: list[Callable[[Any], Any]] = [
    lambda tags: tags & {1, 2, 3, 4, "x"},
    lambda tags: {1, 2, 3, 4, "x"} & tags,
    lambda tags: tags | {7},
    lambda tags: {7} | tags,
    lambda tags: tags - {1},
    lambda tags: {1, 7} - tags,
    lambda tags: tags ^ {1, 7},
    lambda tags: {1, 7} ^ tags,
    lambda tags: tags <= {1, 2, "x", 9},
    lambda tags: tags < {1, 2, "x"},
    lambda tags: tags >= {1},
    lambda tags: tags > {1, 2},
    lambda tags: tags == {1, 2, "x"},
    lambda tags: {1, 2, "x"} == tags,
    lambda tags: tags != {1},
    lambda tags: tags == [1, 2, "x"],
    lambda tags: tags.isdisjoint([7, 8, 9]),
]


@pytest.mark.parametrize("number", range(len(SET_USES)))
def test_a_set_is_compared_and_combined_as_of_one_moment(number: int, cluster: LoneCluster) -> None:
    use, tags = SET_USES[number], shared_set(cluster, 1, 2, "x")
    found, expected = use(tags), use({1, 2, "x"})
    assert (found, type(found)) == (expected, type(expected))
    assert cluster.asked == ["get tags"]


def test_two_shared_sets_are_each_read_once(cluster: LoneCluster) -> None:
    tags = shared_set(cluster, 1, 2)
    others = raftline.ReplicatedSet("others", node=cluster)
    others |= {2, 3}
    cluster.asked.clear()
    assert (tags & others, tags <= others) == ({2}, False)
    assert cluster.asked == ["get tags", "get others"] * 2
    with pytest.raises(TypeError, match="unsupported operand"):
        tags | 5  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not supported between"):
        assert tags < [1]
    with pytest.raises(TypeError, match="unhashable"):
        hash(tags)


def test_a_dict_is_joined_with_others_as_a_plain_one(cluster: LoneCluster) -> None:
    settings = raftline.ReplicatedDict("settings", node=cluster)
    settings |= {"lamp": "on", "door": "shut"}
    others = raftline.ReplicatedDict("others", node=cluster)
    cluster.asked.clear()
    assert settings | {"lamp": "off"} == {"lamp": "off", "door": "shut"}
    assert {"lamp": "off", "key": 1} | settings == {"lamp": "on", "key": 1, "door": "shut"}
    assert list(reversed(settings)) == ["door", "lamp"]
    assert cluster.asked == ["get settings"] * 3
    others.update(settings)  # one look, one entry, however many keys
    assert cluster.asked[3:4] == ["get settings"]
    assert len(cluster.asked) == 5
    assert others == settings
    with pytest.raises(TypeError, match="unsupported operand"):
        settings | 5  # type: ignore[operator]
    with pytest.raises(TypeError, match="a key is a str, not int"):
        settings[5] = 1  # type: ignore[index]


def test_a_list_takes_the_indexes_that_a_list_takes(cluster: LoneCluster) -> None:
    jobs, plain = raftline.ReplicatedList("jobs", node=cluster), [1, 2, 3]
    jobs.extend(plain)
    for each in (jobs, plain):
        each[True] = 9
        each[1 : 2**70] = [5, 6]
        each.insert(False, 0)
        del each[-(2**70) : 1]
        each[-1] = 7
    assert jobs == plain == [1, 5, 7]
    uses: list[Callable[[Any], Any]] = [
        lambda it: it.__setitem__("a", 1),
        lambda it: it.__setitem__(slice("a", 2), [1]),
        lambda it: it.__delitem__(1.5),
        lambda it: it.insert("a", 1),
        lambda it: it.pop(None),
    ]
    for use in uses:
        with pytest.raises(TypeError):
            use(plain)
        with pytest.raises(TypeError, match="an index is a whole number, not"):
            use(jobs)
    with pytest.raises(IndexError, match="jobs has no index 1180591620717411303424"):
        jobs[2**70] = 1
    assert jobs == [1, 5, 7]


def test_a_counter_compares_as_its_number(cluster: LoneCluster) -> None:
    visits = raftline.ReplicatedCounter("visits", node=cluster)
    others = raftline.ReplicatedCounter("others", node=cluster)
    assert not visits
    assert visits == others == 0
    visits.value = 3
    cluster.asked.clear()
    assert (visits == 3, visits < 4, visits <= 3, visits > 2, visits >= 3.5) == (
        True,
        True,
        True,
        True,
        False,
    )
    assert visits
    assert list(range(visits)) == [0, 1, 2]
    assert cluster.asked == ["get visits"] * 7  # each of these is one look
    assert visits > others
    assert visits != "3"
    with pytest.raises(OverflowError, match="visits can't go beyond"):
        visits.value = 2**63
    with pytest.raises(TypeError, match="not supported between"):
        assert visits < "4"


def test_a_counter_adds_another_as_of_one_moment(cluster: LoneCluster) -> None:
    visits = raftline.ReplicatedCounter("visits", node=cluster)
    others = raftline.ReplicatedCounter("others", node=cluster)
    others.value = 5
    cluster.asked.clear()
    visits.add(others)  # type: ignore[arg-type]
    assert cluster.asked == ["get others", "incr visits 5"]


def test_a_queue_reports_that_it_is_full(cluster: LoneCluster) -> None:
    with pytest.raises(TypeError):
        raftline.ReplicatedQueue("jobs", node=cluster, maxsize=1.5)  # type: ignore[arg-type]
    narrow = raftline.ReplicatedQueue("jobs", node=cluster, maxsize=1)
    wide = raftline.ReplicatedQueue("jobs", node=cluster)
    assert not narrow.full()
    wide.put("a")
    assert narrow.full()
    assert not wide.full()


@pytest.mark.parametrize("pretended", [copy.copy, copy.deepcopy, pickle.dumps])
def test_objects_and_clients_can_not_be_copied_or_pickled(
    pretended: Callable[[Any], Any], cluster: LoneCluster
) -> None:
    with Clients("127.0.0.1:1") as clients:
        for target in (raftline.ReplicatedDict("d", node=cluster), clients):
            with pytest.raises(
                TypeError, match="can't be copied or pickled: its data is in the cluster"
            ):
                pretended(target)


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda node: raftline.ReplicatedDict(5, node=node), TypeError, "a name is a str, not int"),  # type: ignore[arg-type]
        (lambda node: raftline.ReplicatedDict("", node=node), ValueError, "needs a name"),
        (lambda _: raftline.ReplicatedDict("d", node="localhost:1"), TypeError, "not a str"),  # type: ignore[arg-type]
        (
            lambda _: raftline.ReplicatedDict("d", node=Client("localhost", 1)),  # type: ignore[arg-type]
            TypeError, "node must be a raftline.Node, or raftline.connect",
        ),
        (lambda node: raftline.Replicated("v", node=node, timeout=0), ValueError, "0 s is invalid"),
        (lambda node: raftline.Replicated("v", node=node, timeout="1"), TypeError, "not str"),  # type: ignore[arg-type]
        (lambda node: raftline.Replicated("v", node=node).within(-1), ValueError, "is invalid"),
        (lambda _: Clients("localhost:1", timeout=-1), ValueError, "is invalid"),
        (lambda _: Clients("localhost:1").request("get a", 0), ValueError, "is invalid"),
        (lambda _: Clients("localhost:1").request("get a", "1"), TypeError, "not str"),  # type: ignore[arg-type]
        (lambda _: Clients(8000), ValueError, "8000 is not an address: host:port"),  # type: ignore[arg-type]
        (
            lambda node: raftline.Replicated("v", node=node).set(float("nan")),
            ValueError, "a number that is not finite, which is not replicated; nothing was sent",
        ),
        (
            lambda node: raftline.ReplicatedMachine("m", node=node).apply(float("inf")),
            ValueError, "a number that is not finite, which is not replicated; nothing was sent",
        ),
    ],
)  # fmt: skip
def test_invalid_arguments_of_objects_are_refused_at_once(
    make: Callable[[Any], Any], error: type[Exception], said: str, cluster: LoneCluster
) -> None:
    with pytest.raises(error, match=said):
        make(cluster)
    assert not cluster.asked


@pytest.mark.parametrize(
    ("timeout", "error"), [("5", TypeError), (math.nan, ValueError), (-1, ValueError)]
)
def test_a_queue_waits_for_no_wrong_time(timeout: Any, error: type[Exception]) -> None:
    jobs = raftline.ReplicatedQueue("jobs", node=LoneCluster())
    for wait in (lambda: jobs.get(timeout=timeout), lambda: jobs.put(1, timeout=timeout)):
        with pytest.raises(error, match="timeout"):
            wait()
