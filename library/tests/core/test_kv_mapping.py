"""`kv` as a mapping over a state machine alone: what each method asks for, and how often."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import pytest

from raftline.clients.calls.calls import Call
from raftline.clients.calls.kv_errors import NotUnderstood
from raftline.clients.calls.value_codec import BINARY
from raftline.clients.kv.kv import KV
from raftline.clients.requests.pool import Clients
from raftline.harness.kv_cluster import CALLS, PAGE, awaited, tasks, threads
from raftline.wire.limits import TRANSACTION_ITEMS

TASKS = pytest.param(tasks, marks=pytest.mark.needs("asyncio.run"))


WAYS: list[Callable[[KV[str]], Any]] = [
    lambda kv: list(kv.items()),
    lambda kv: list(kv.keys("k")),
    lambda kv: list(kv.values()),
    lambda kv: sorted(kv.items()),
    lambda kv: tuple(kv.keys()),
    lambda kv: set(kv.keys()),
    lambda kv: dict(kv.items()),
    lambda kv: len(kv),
    lambda kv: [pair for pair in kv.items()],
]


@pytest.mark.parametrize("way", WAYS)
def test_a_list_of_pairs_reads_each_page_once(way: Callable[[KV[str]], Any]) -> None:
    kv, cluster = threads(7)
    found = way(kv)
    assert found == 7 or len(found) == 7
    assert cluster.asked_for("show") == 3


def test_iterators_yield_pairs_keys_and_values_in_order() -> None:
    kv, _ = threads(4)
    assert list(kv.items()) == [("k0", "0"), ("k1", "1"), ("k2", "2"), ("k3", "3")]
    assert list(kv) == list(kv.keys()) == ["k0", "k1", "k2", "k3"]
    assert list(kv.values("k3")) == ["3"]
    assert next(kv.keys("k1")) == "k1"


def test_the_truth_of_a_store_takes_one_page() -> None:
    kv, cluster = threads(7)
    assert kv
    assert cluster.asked_for("show") == 1


@pytest.mark.parametrize("key", ["", "k" * 1025, "é" * 513, "\ud800", 5, None, b"k0"])
def test_what_can_be_no_key_is_in_no_mapping_and_nobody_is_asked(key: object) -> None:
    kv, cluster = threads(1)
    assert key not in kv
    assert not cluster.asked
    assert "k0" in kv
    assert "k" * 1024 not in kv
    assert b"\xff" * 1024 not in KV(cast(Clients, cluster), BINARY)
    assert b"\xff" * 1025 not in KV(cast(Clients, cluster), BINARY)
    assert cluster.asked_for("get") == 3


# --- in one step --------------------------------------------------------------------------------


def test_popitem_takes_the_first_key_in_one_step() -> None:
    kv, cluster = threads(2)
    assert kv.popitem() == ("k0", "0")
    assert cluster.asked_for("txn") == 1
    assert kv.popitem("k1") == ("k1", "1")
    for prefix in (None, "k"):
        with pytest.raises(KeyError, match="no key"):
            kv.popitem(prefix)


@pytest.mark.parametrize("make", [threads, TASKS])
def test_popitem_continues_where_another_program_was_first(make: Any) -> None:
    """If another program takes the key first, `popitem` moves on to the next one."""
    kv, cluster = make(3)

    def race(command: str) -> None:
        if command.startswith("txn get k0"):
            cluster.model.ask(CALLS.delete("k0"))
        if command.startswith("txn get k1"):
            cluster.model.ask(CALLS.set("k1", "changed"))

    cluster.before = race
    pair = kv.popitem()
    assert (pair if make is threads else awaited(pair)) == ("k1", "changed")
    assert list(cluster.model.store) == ["k2"]


def test_popitem_lists_again_where_a_page_was_emptied_by_others() -> None:
    kv, cluster = threads(PAGE)

    def race(command: str) -> None:
        if command.startswith("txn get k"):
            cluster.model.ask(CALLS.delete(command.split(" ")[2]))
            cluster.model.ask(CALLS.set("late", "1"))

    cluster.before = race
    assert kv.popitem() == ("late", "1")
    assert cluster.asked_for("show") == 2


@pytest.mark.parametrize("make", [threads, TASKS])
def test_update_sets_many_pairs_in_one_step(make: Any) -> None:
    kv, cluster = make()

    def updated(*arguments: Any, **named: Any) -> int:
        done = kv.update(*arguments, **named)
        if make is tasks:
            awaited(done)
        return len(cluster.asked)

    assert updated() == updated({}) == 0
    assert updated({"a": "1"}) == 1
    assert cluster.asked == ["set a 1"]
    cluster.asked.clear()
    pairs = {f"k{number}": str(number) for number in range(TRANSACTION_ITEMS - 1)}
    assert updated(pairs, then="else") == 1
    assert len(cluster.model.store) == TRANSACTION_ITEMS + 1
    assert cluster.model.ask(CALLS.get("then")) == "else"
    cluster.asked.clear()
    keys = TRANSACTION_ITEMS + 1
    assert updated([(f"n{number % keys}", str(number)) for number in range(2 * keys)]) == 2
    assert cluster.model.ask(CALLS.get("n0")) == str(keys)


@pytest.mark.parametrize("make", [threads, TASKS])
def test_update_sets_pairs_for_a_time(make: Any) -> None:
    kv, cluster = make()

    def updated(pairs: dict[str, str], ttl: Any) -> list[str]:
        done = kv.update(pairs, ttl=ttl)
        if make is tasks:
            awaited(done)
        return cluster.asked

    assert updated({"a": "1"}, 1.5) == ["setex a 1.5 1"]
    cluster.asked.clear()
    two_s = timedelta(seconds=2)
    assert updated({"a": "1", "b": "2"}, two_s) == ["txn then setex a 2 1 ; setex b 2 2"]
    cluster.asked.clear()
    for wrong, error in ((0, ValueError), ("5", TypeError)):
        with pytest.raises(error):
            updated({"a": "1", "b": "2"}, wrong)
    assert not cluster.asked


def test_update_sends_no_more_than_a_megabyte_at_once() -> None:
    kv, cluster = threads()
    large = "v" * (1 << 19)
    kv.update({"a": large, "b": large, "c": "1"})
    assert cluster.asked_for("txn") == 2
    kv.update({"a": large * 2, "b": "1"})
    assert cluster.asked_for("txn") == 2
    assert kv["a"] == large * 2


def test_update_refuses_a_wrong_pair_before_anything_is_sent() -> None:
    kv, cluster = threads()
    pairs: dict[str, Any] = {f"k{number}": "1" for number in range(200)}
    for wrong, error in (({"": "1"}, ValueError), ({"a": 1}, TypeError)):
        with pytest.raises(error):
            kv.update({**pairs, **wrong})
    assert not cluster.asked


@pytest.mark.needs("asyncio.run")
def test_pop_of_an_absent_key_is_a_key_error_for_tasks() -> None:
    """With asyncio, too, `pop` of an absent key raises KeyError."""
    for make in (threads, tasks):
        kv: Any = make(1)[0]
        said = [kv.pop("k0"), kv.pop("x", None), kv.pop("x", "else")]
        said = [awaited(each) for each in said] if make is tasks else said
        assert said == ["0", None, "else"]
        with pytest.raises(KeyError, match="x"):
            awaited(kv.pop("x")) if make is tasks else kv.pop("x")


@pytest.mark.needs("asyncio.run")
def test_clear_takes_a_prefix_for_tasks_as_for_threads() -> None:
    for make in (threads, tasks):
        kv: Any = make(1)[0]
        with pytest.raises(TypeError):
            kv.clear()
        with pytest.raises(ValueError, match="at least one byte"):
            awaited(kv.clear("")) if make is tasks else kv.clear("")


# --- what can't be understood -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (CALLS.append("a", "1"), "APPEND response: done"),
        (CALLS.append("a", "1"), "APPEND response: a has many bytes"),
        (CALLS.clear("a"), "CLEAR response: all keys deleted"),
        (CALLS.clear("a"), "CLEAR response: "),
        (CALLS.incr("a"), "INCR response: five"),
        (CALLS.pop("a"), "TXN response: []"),
        (CALLS.pop("a"), "TXN response: {"),
        (CALLS.pop("a"), "TXN response: 5"),
        (CALLS.pop("a"), "TXN response: {}"),
        (CALLS.stat("a"), "STAT response: {}"),
        (CALLS.stat("a"), "STAT response: []"),
        (CALLS.ttl("a"), "TTL response: long"),
        (CALLS.page(), "SHOW response: nothing"),
        (CALLS.page(), "SHOW response: {} more: show after a"),
        (CALLS.release("lease-5"), "RELEASE response: lease-5 released"),
    ],
)
def test_a_reply_of_a_newer_node_is_said_to_be_not_understood(call: Call[Any], text: str) -> None:
    """A ValueError would mean that nothing was sent, a KeyError that there is no such key."""
    with pytest.raises(NotUnderstood, match="response"):
        call.read(text)


@pytest.mark.parametrize(
    "text", ["TXN response: [1]", "TXN response, then: []", "TXN response, x: 5"]
)
def test_a_transaction_s_reply_of_a_newer_node_is_not_understood(text: str) -> None:
    kv, cluster = threads()
    cluster.request = lambda command, timeout=None: text  # type: ignore[method-assign]
    with pytest.raises(NotUnderstood):
        kv.txn().if_.exists("a").then.get("a").commit()


def test_transaction_errors_name_the_place_of_an_operation() -> None:
    """An error of a transaction gives the position of the operation or condition."""
    kv, _ = threads()
    with pytest.raises(AttributeError, match=r"kv\.txn\(\)\.then\.get\(…\)"):
        kv.txn().get("a")  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match=r"kv\.txn\(\)\.if_\.absent\(…\)"):
        kv.txn().absent("a")  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match=r"no attribute 'nonsense'\Z"):
        kv.txn().nonsense()  # type: ignore[attr-defined]
