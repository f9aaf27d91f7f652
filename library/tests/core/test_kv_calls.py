"""Requests of a typed client: no key or value is taken for another word, and replies are typed."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftline.api import Operations, Outcome, Transaction
from raftline.clients.calls.calls import (
    Call,
    CallFactory,
    Page,
    Stat,
    Version,
    answered,
    lease_time,
)
from raftline.clients.calls.kv_errors import LeaseLost, NotUnderstood
from raftline.clients.calls.transaction import itself
from raftline.clients.calls.value_codec import BINARY, TEXT, Data
from raftline.clients.connections.node_connection import Refused
from raftline.clients.watches.watch_events import WatchCursor
from raftline.harness.kv_model import Model
from raftline.wire.commands.command_table import read_request
from raftline.wire.operands.operands import Limits, show_operands
from raftline.wire.protocol import unescape

Done = TypeVar("Done")
CALLS = CallFactory(TEXT)
BYTES = CallFactory(BINARY)
TRICKY = (
    "then", "else", "if", ";", "=", "after", "read", "read local", "a b", " a", "a ", "\\", "\\s",
    "\n", "\r", "a\nset b 1", "\t", "\x00", "é", "e\u0301", "\u2028", "\x85", "@", "#1@", "x@get b",
    "absent", "lease-1", "\udcff", "-1", "no such key: a", "under", "get",
)  # fmt: skip
keys = st.one_of(
    st.sampled_from(TRICKY), st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
)
values = st.one_of(st.just(""), keys)


@given(keys, values, values)
def test_any_key_and_value_come_back_as_they_were(key: str, value: str, other: str) -> None:
    model = Model()
    model.ask(CALLS.set(key, value))
    assert model.ask(CALLS.get(key)) == value
    assert len(model.store) == 1
    assert model.ask(CALLS.cas(key, value, other))
    assert model.ask(CALLS.get(key)) == other
    assert not model.ask(CALLS.cas(key, f"{other}!", value))
    size = len((other + value).encode("utf-8", "surrogateescape"))
    assert model.ask(CALLS.append(key, value)) == size
    assert model.ask(CALLS.get(key)) == other + value
    assert not model.ask(CALLS.setnx(key, value))
    assert model.ask(CALLS.pop(key)) == other + value
    assert model.ask(CALLS.pop(key)) is None
    assert model.ask(CALLS.setnx(key, value))
    assert model.ask(CALLS.delete(key))
    assert not model.ask(CALLS.delete(key))
    assert model.ask(CALLS.get(key)) is None
    assert len(model.store) == 0


@given(st.binary(min_size=1), st.binary())
def test_any_bytes_come_back_as_they_were(key: bytes, value: bytes) -> None:
    model = Model()
    model.ask(BYTES.set(key, value))
    assert model.ask(BYTES.get(key)) == value
    assert model.ask(BYTES.delete(key))
    assert len(model.store) == 0


class Word(str, Enum):
    """Its words in an f-string are `Word.RED`, from Python 3.11 on."""

    RED = "red"


class Number(int, Enum):
    FIVE = 5


def test_an_enum_is_the_text_or_the_number_that_it_is() -> None:
    model = Model()
    done = model.txn().then.set(Word.RED, Word.RED).incr("n", Number.FIVE).commit()
    assert done.results == [True, 5]
    assert model.ask(CALLS.get("red")) == "red"
    assert model.ask(CALLS.cas(Word.RED, Word.RED, "blue"))
    assert model.ask(CALLS.incr("n", Number.FIVE)) == 10
    assert CALLS.page(Word.RED).command == "show red"
    assert WatchCursor(TEXT, Word.RED, Number.FIVE).command == "watch red after 5"


@given(keys, values, keys)
def test_a_transaction_takes_any_key_and_value_for_one_word(
    key: str, value: str, other: str
) -> None:
    model = Model()
    lease = model.ask(CALLS.grant(10))
    then = model.txn().if_.absent(key).then
    first = then.set(key, value, lease=lease).get(key).stat(key).append(key, other).commit()
    size = len(value.encode("utf-8", "surrogateescape"))
    longer = size + len(other.encode("utf-8", "surrogateescape"))
    assert first.succeeded
    assert first.results == [True, value, Stat(2, lease, size), longer]
    both = value + other
    again = model.txn().if_.equal(key, both).exists(key).unchanged(key, 2).then
    result = again.cas(key, both, other).cas(key, both + "!", value).setnx(key, value).get(key)
    assert result.commit().results == [True, False, False, other]
    differs = model.txn().if_.differ(key, other).then.incr("n").else_.delete(key).get(key)
    outcome = differs.commit()
    assert not outcome
    assert outcome.results == [True, None]
    assert list(model.store) == []


@given(keys, st.integers(-5, 5), st.integers(-5, 5))
def test_a_transaction_compares_numbers_and_looks_under_prefixes(
    key: str, have: int, number: int
) -> None:
    model = Model()
    model.ask(CALLS.set(key, str(have)))
    assert bool(model.txn().if_.greater(key, number).then.get(key).commit()) == (have > number)
    assert bool(model.txn().if_.less(key, number).then.get(key).commit()) == (have < number)
    assert not model.txn().if_.none_under(key).then.get(key).commit()
    gone = model.txn().if_.any_under(key).then.set(key + "/x", "1").clear(key).get(key).commit()
    assert gone.results == [True, 2, None]
    assert model.txn().if_.none_under(key).then.get(key).commit()


def test_a_result_of_a_transaction_has_its_type() -> None:
    model = Model()
    first = model.txn().then.set("a", "1").get("a").incr("a").stat("a").delete("b").get("b")
    done = first.stat("b").clear("a").commit()
    assert (done.done(0), done.value(1), done.number(2)) == (True, "1", 2)
    assert (done.stat(3), done.done(4), done.value(5)) == (Stat(1, None, 1), False, None)
    assert (done.stat(6), done.number(-1)) == (None, 1)
    for wrong, why in (
        (lambda: done.value(2), "the result in place 2 is int, not str"),
        (lambda: done.number(1), "the result in place 1 is str, not int"),
        (lambda: done.number(0), "no number: use done"),
        (lambda: done.done(2), "int, not bool"),
        (lambda: done.stat(1), "str, not Stat"),
    ):
        with pytest.raises(TypeError, match=why):
            wrong()
    with pytest.raises(IndexError):
        done.value(8)
    assert repr(done).startswith("Outcome(succeeded=True, results=[True, '1', 2, Stat(")
    assert repr(done).endswith("])")


def test_numbers_and_times_are_typed() -> None:
    model = Model()
    assert model.ask(CALLS.incr("n")) == 1
    assert model.ask(CALLS.incr("n", -42)) == -41
    assert model.ask(CALLS.stat("n")) == Stat(2, None, 3)
    assert model.ask(CALLS.stat("m")) is None
    assert model.ask(CALLS.expire("n", 10)) is True
    assert model.ask(CALLS.expire("m", 10)) is False
    assert model.ask(CALLS.persist("n")) is True
    assert model.ask(CALLS.persist("n")) is False
    model.ask(CALLS.set("t", "two words", ttl=10.0))
    assert model.ask(CALLS.get("t")) == "two words"
    assert [model.ask(CALLS.clear(prefix)) for prefix in ("n", "n", "t")] == [1, 0, 1]
    done = model.txn().then.incr("n", 5).set("t", "1", ttl=3).expire("t", 4).persist("t").commit()
    assert done.results == [5, True, True, True]


@given(keys, values, values)
def test_conditional_write_with_ttl_sets_the_ttl(key: str, value: str, other: str) -> None:
    """A conditional write with a TTL sets the key for that time."""
    model = Model()
    assert model.ask(CALLS.setnx(key, value, ttl=10)) is True
    first = model.ask(CALLS.stat(key))
    assert first == Stat(1, "own-1-10", len(value.encode("utf-8", "surrogateescape")))
    assert model.ask(CALLS.setnx(key, other, ttl=20)) is False
    assert model.ask(CALLS.cas(key, value + "?", other, ttl=20)) is False
    assert model.ask(CALLS.stat(key)) == first
    assert model.ask(CALLS.cas(key, value, other, ttl=20)) is True
    assert model.ask(CALLS.get(key)) == other
    second = model.ask(CALLS.stat(key))
    assert second is not None
    assert second.lease == f"own-{second.index}-20"
    assert len(model.store) == 1


def test_read_gives_a_value_and_the_index_of_its_last_change() -> None:
    model = Model()
    assert model.ask(CALLS.read("a")) == (None, 0)
    model.ask(CALLS.set("a", "two words\n\udcff"))
    value, index = model.ask(CALLS.read("a"))
    assert (value, index) == ("two words\n\udcff", model.store.number - 1)
    stat = model.ask(CALLS.stat("a"))
    assert stat is not None
    assert index == stat.index
    model.ask(CALLS.expire("a", 10))  # no change
    assert model.ask(CALLS.read("a")).index == index
    assert model.ask(CALLS.exists("a"))
    assert not model.ask(CALLS.exists("b"))
    assert model.ask(CallFactory(BINARY).read(b"a")).value == b"two words\n\xff"


@pytest.mark.parametrize("how", ["alone", "ttl", "lease"])
def test_a_write_with_a_version_is_done_if_nothing_changed_since(how: str) -> None:
    model = Model()
    lease = model.ask(CALLS.grant(10))
    ttl, under = (5 if how == "ttl" else None), (lease if how == "lease" else None)

    def cas(old: str | Version[str], new: str) -> bool:
        return model.ask(CALLS.cas("a", old, new, ttl=ttl, lease=under))

    absent = model.ask(CALLS.read("a"))
    assert cas(absent, "1")
    assert not cas(absent, "2")
    first = model.ask(CALLS.read("a"))
    assert cas(first, "2")
    assert cas("2", "1")  # the value of before, and another version
    assert not cas(first, "3")
    stat = model.ask(CALLS.stat("a"))
    assert stat is not None
    assert bool(stat.lease) == (how != "alone")
    model.ask(CALLS.delete("a"))
    assert not cas(first, "3")
    assert cas(model.ask(CALLS.read("a")), "3")
    if how == "lease":
        model.ask(CALLS.release(lease))
        with pytest.raises(LeaseLost):
            cas(model.ask(CALLS.read("a")), "4")


def test_cas_of_a_transaction_takes_a_version() -> None:
    """It is a condition of the whole transaction: of all operations, and for `else_`."""
    model = Model()

    def both(old: Version[str], new: str) -> Outcome[str]:
        return model.txn().then.cas("a", old, new).set("b", new).else_.read("a").commit()

    absent = model.ask(CALLS.read("a"))
    assert both(absent, "1").results == [True, True]
    lost = both(absent, "2")
    assert (lost.succeeded, lost.version(0)) == (False, model.ask(CALLS.read("a")))
    assert both(lost.version(0), "3").results == [True, True]
    model.ask(CALLS.set("a", "3"))  # the same value, and another version
    assert not both(lost.version(0), "4")
    assert (model.store["a"], model.store["b"]) == ("3", "3")
    with pytest.raises(ValueError, match="stands before else_"):
        model.txn().then.cas("a", absent, "5").else_.cas("a", absent, "5")


def adds(then: Operations[Data, Done], key: Data) -> Operations[Data, Done]:
    """Add to the transaction of another function, which type checkers understand."""
    return then.incr(key).incr(key)


def test_a_function_adds_to_a_transaction_of_any_kind() -> None:
    outcome = adds(Model().txn().then, "n").commit()
    assert outcome.number(1) == 2
    assert adds(Transaction(BINARY, itself).then, b"n").commit().command.count("incr n") == 2


def test_transaction_reads_versions_and_conditions_on_them() -> None:
    """A transaction can read versions, and use them as conditions."""
    model = Model()
    model.ask(CALLS.set("a", "1"))
    a, b = model.ask(CALLS.read("a")), model.ask(CALLS.read("b"))
    done = model.txn().if_.unchanged("a", a).unchanged("b", b).then.set("b", "2").read("b").commit()
    assert done.version(1) == ("2", model.store.number)
    assert not model.txn().if_.unchanged("b", b).then.get("a").commit()
    again = model.txn().then.read("a").read("none").commit()
    assert [again.version(0), again.version(1)] == [a, (None, 0)]
    with pytest.raises(TypeError, match="the result in place 0 is Version, not Stat"):
        again.stat(0)


@pytest.mark.parametrize("how", ["alone", "ttl", "lease"])
def test_metadata_as_a_condition_names_the_lease_of_the_key(how: str) -> None:
    model = Model()
    lease = model.ask(CALLS.grant(10))
    model.ask(CALLS.set("a", "1", ttl=10 if how == "ttl" else None))
    if how == "lease":
        model.txn().then.set("a", "1", lease=lease).commit()
    before = model.ask(CALLS.stat("a"))
    assert before is not None
    assert model.txn().if_.unchanged("a", before).then.expire("a", 20).commit()
    after = model.ask(CALLS.stat("a"))
    assert after is not None
    assert after.index == before.index
    assert after.lease != before.lease
    assert not model.txn().if_.unchanged("a", before).then.get("a").commit()
    assert model.txn().if_.unchanged("a", before.index).unchanged("a", after).then.get("a").commit()


@pytest.mark.parametrize("lease", ["", "x", "lease-1 ; b absent", "own-5"])
def test_metadata_with_a_malformed_lease_is_refused(lease: str) -> None:
    with pytest.raises(ValueError, match=r"is not a lease of a key: give the result of kv\.stat"):
        Model().txn().if_.unchanged("a", Stat(1, lease, 1))


def test_a_conditional_write_has_a_time_or_a_lease() -> None:
    for write in (
        lambda: CALLS.setnx("a", "1", lease="lease-1", ttl=10),
        lambda: CALLS.cas("a", "1", "2", lease="lease-1", ttl=10),
    ):
        with pytest.raises(ValueError, match="give that or lease, not both"):
            write()
    with pytest.raises(ValueError, match=r"0\.001 to 1000000000 seconds"):
        CALLS.setnx("a", "1", ttl=0)


@pytest.mark.parametrize(
    ("ttl", "formatted"),
    [
        (1, "1"), (1.0, "1"), (1.5, "1.5"), (0.1 + 0.2, "0.3"), (0.001, "0.001"), (1 / 3, "0.333"),
        (1_000_000_000, "1000000000"), (timedelta(minutes=2), "120"),
        (timedelta(milliseconds=5), "0.005"),
    ],
)  # fmt: skip
def test_a_time_is_an_int_a_float_or_a_timedelta(ttl: float | timedelta, formatted: str) -> None:
    commands: list[Call[Any]] = [
        CALLS.grant(ttl), CALLS.set("a", "1", ttl=ttl), CALLS.expire("a", ttl),
        CALLS.setnx("a", "1", ttl=ttl), CALLS.cas("a", "1", "2", ttl=ttl),
    ]  # fmt: skip
    assert [each.command for each in commands] == [
        f"lease {formatted}", f"setex a {formatted} 1", f"expire a {formatted}",
        f"txn if a absent then setex a {formatted} 1", f"txn if a = 1 then setex a {formatted} 2",
    ]  # fmt: skip
    model = Model()
    model.ask(commands[1])
    done = model.txn().then.set("b", "1", ttl=ttl).expire("a", ttl).commit()
    assert done.results == [True, True]
    stat = model.ask(CALLS.stat("b"))
    assert stat is not None
    assert stat.lease == f"own-2-{formatted}"


def test_a_write_under_a_lease_that_has_ended_says_so() -> None:
    model = Model()
    lease = model.ask(CALLS.grant(10))
    model.ask(CALLS.set("a", "1", lease=lease))
    assert model.ask(CALLS.release(lease)) == 1
    assert model.ask(CALLS.release(lease)) is None
    calls: tuple[Any, ...] = (
        CALLS.set("a", "1", lease=lease),
        CALLS.setnx("a", "1", lease=lease),
        CALLS.cas("a", "1", "2", lease=lease),
        CALLS.incr("a", 1, lease=lease),
        CALLS.append("a", "1", lease=lease),
    )
    for call in calls:
        with pytest.raises(LeaseLost, match=f"{lease} has ended"):
            model.ask(call)
    with pytest.raises(LeaseLost, match=f"{lease} has ended"):
        model.txn().then.set("b", "1", lease=lease).commit()
    with pytest.raises(Refused, match="not a whole number"):
        model.txn().then.set("b", lease).incr("b").commit()
    assert len(model.store) == 0


@given(st.sampled_from(("", *TRICKY)), st.sampled_from(("", *TRICKY)))
def test_a_page_is_asked_for_by_any_prefix_and_key(prefix: str, after: str) -> None:
    command = CALLS.page(prefix or None, after).command
    asked = read_request("program", "", command, Limits())
    assert asked.read == ""
    found = [None if each is None else unescape(each) for each in show_operands(asked.command)]
    assert found == [prefix or None, after or None]


def test_a_page_is_read_with_what_follows_it() -> None:
    read = CALLS.page("a").read
    assert read('SHOW response: {"a": "5", "b c": "\\udcff"}') == Page(
        [("a", "5"), ("b c", "\udcff")], True, "b c"
    )
    assert read('SHOW response: {"a": "5"} more: show after a') == Page([("a", "5")], False, "a")
    assert read("SHOW response: {}") == Page([], True, "")
    assert BYTES.page().read('SHOW response: {"\\udcff": "é"}').pairs == [(b"\xff", "é".encode())]


def test_a_time_that_a_key_has_left_is_none_where_it_stays() -> None:
    read = CALLS.ttl("a").read
    assert read("TTL response: 9.372") == 9.372
    assert read("TTL response, no lease: a") is None
    with pytest.raises(KeyError, match="a"):
        read("TTL response, no such key: a")


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: CALLS.get(b"a"), TypeError, "a key is str here, not bytes"),  # type: ignore[arg-type]
        (lambda: BYTES.get("a"), TypeError, "a key is bytes here, not str"),  # type: ignore[arg-type]
        (lambda: CALLS.set("a", 5), TypeError, "a value is str here, not int"),  # type: ignore[arg-type]
        (lambda: CALLS.get(""), ValueError, "at least one byte"),
        (lambda: CALLS.clear(""), ValueError, "at least one byte"),
        (lambda: CALLS.get("\ud800"), ValueError, "half a surrogate pair"),
        (lambda: CALLS.incr("a", 1.5), TypeError, "a whole number is an int"),  # type: ignore[arg-type]
        (lambda: CALLS.incr("a", True), TypeError, "a whole number is an int"),
        (lambda: CALLS.set("a", "1", ttl=0.0005), ValueError, "is not a valid lease time"),
        (lambda: CALLS.set("a", "1", ttl=10_000_000_000), ValueError, "is not a valid lease time"),
        (lambda: CALLS.set("a", "1", ttl=10, lease="lease-1"), ValueError, "not both"),
        (lambda: CALLS.set("a", "1", lease="x set b 1"), ValueError, "is not a lease"),
        (lambda: lease_time(float("nan")), ValueError, "is not a valid lease time"),
        (lambda: lease_time("10"), TypeError, "is a number of seconds"),  # type: ignore[arg-type]
        (lambda: Model().txn().if_.absent("a").then.commit(), ValueError, "at least one"),
        (lambda: Model().txn().then.set("a", "1").else_.get("b"), ValueError, "needs a condition"),
        (lambda: Model().txn().if_.none_under(""), ValueError, "at least one byte"),
        (lambda: Model().txn().then.clear(""), ValueError, "at least one byte"),
        (lambda: Model().txn().if_.greater("a", "5"), TypeError, "an int, not str"),  # type: ignore[arg-type]
        (lambda: Model().txn().if_.less("a", True), TypeError, "an int, not bool"),
        (lambda: Model().txn().then.set("a", "1", ttl=1, lease="x"), ValueError, "not both"),
        (lambda: Model().txn().then.set("a", "1", lease="x"), ValueError, "is not a lease"),
    ],
)
def test_what_no_request_can_say_is_refused_before_it_is_sent(
    call: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        call()


def test_a_reply_of_an_unknown_form_is_said_to_be_one() -> None:
    for text in ("", "hello", "GET response"):
        with pytest.raises(NotUnderstood, match="has an unknown form"):
            answered(text)
