"""Histories that are and are not linearizable, and that the checker tells them apart."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftline_testing.histories.history import ClientOperation
from raftline_testing.histories.linearizable import HistoryVerdict, check

KEYS = "ab"


def read(
    value: str | None, called_at: float, returned_at: float | None, key: str = "b"
) -> ClientOperation:
    return ClientOperation("client2", "get", key, value, called_at, returned_at)


def write(
    value: str, called_at: float, returned_at: float | None, key: str = "b"
) -> ClientOperation:
    return ClientOperation("client1", "set", key, value, called_at, returned_at)


def delete(found: bool | None, called_at: float, returned_at: float | None) -> ClientOperation:
    return ClientOperation("client3", "delete", "b", None, called_at, returned_at, found)


def cas(
    old: str, new: str, called_at: float, returned_at: float | None, found: bool | None = None
) -> ClientOperation:
    """A cas that met `old`; with `found`, one that did not, because of another value or none."""
    matched = None if returned_at is None else found is None
    return ClientOperation("client4", "cas", "b", new, called_at, returned_at, found, old, matched)


GOOD = {
    "an empty history": [],
    "a get of what was never set": [read(None, 1, 2)],
    "a get after a set": [write("5", 1, 2), read("5", 3, 4)],
    "a get during a set sees it or not": [write("5", 1, 9), read(None, 2, 3), read("5", 4, 5)],
    "two sets at once, in either order": [
        write("5", 1, 9),
        write("6", 1, 9),
        read("6", 10, 11),
        read("6", 12, 13),
    ],
    "an unknown set seen long after": [write("5", 1, None), read(None, 2, 3), read("5", 50, 51)],
    "an unknown set that never happened": [write("5", 1, None), read(None, 2, 3)],
    "an unknown set that happens after another": [
        write("5", 1, None),
        write("6", 2, 3),
        read("6", 4, 5),
        read("5", 6, 7),
    ],
    "a delete of what is there": [write("5", 1, 2), delete(True, 3, 4), read(None, 5, 6)],
    "an unknown delete": [write("5", 1, 2), delete(None, 3, None), read(None, 5, 6)],
    "a delete that finds what an unknown set left": [write("5", 1, None), delete(True, 2, 3)],
    "a delete that was not looked at": [delete(None, 1, 2), read(None, 3, 4)],
    "a get without an answer": [write("5", 1, 2), read(None, 3, None), read("5", 4, 5)],
    "answers at the moment of the call": [write("5", 0, 0), read(None, 0, 0), read("5", 0, 0)],
    "an empty value is no absence": [write("", 1, 2), read("", 3, 4)],
    "a cas of what is there": [write("5", 1, 2), cas("5", "6", 3, 4), read("6", 5, 6)],
    "a cas of something else": [write("5", 1, 2), cas("7", "6", 3, 4, True), read("5", 5, 6)],
    "a cas of nothing": [cas("5", "6", 1, 2, False), read(None, 3, 4)],
    "an unknown cas seen later": [write("5", 1, 2), cas("5", "6", 3, None), read("6", 5, 6)],
    "unknown writes that need each other": [
        write("5", 1, None),
        cas("6", "7", 2, None),
        cas("5", "6", 3, None),
        read(None, 4, 5),
        read("7", 6, 7),
    ],
    "a cas that meets what an unknown set left": [write("5", 1, None), cas("5", "6", 2, 3)],
    "a cas that an unknown set forestalls": [
        write("5", 1, 2),
        write("7", 3, None),
        cas("5", "6", 4, 5, True),
        read("7", 6, 7),
    ],
}

BAD = {
    "a value that nobody set": [write("5", 1, 2), read("7", 3, 4)],
    "a stale get": [write("5", 1, 2), write("6", 3, 4), read("5", 5, 6)],
    "a lost write": [write("5", 1, 2), read(None, 3, 4)],
    "two gets that go back": [write("5", 1, 9), read("5", 2, 3), read(None, 4, 5)],
    "a set done twice": [
        write("5", 1, 2),
        write("6", 3, 4),
        read("6", 5, 6),
        read("5", 7, 8),
    ],
    "an unknown set done twice": [
        write("5", 1, None),
        read("5", 2, 3),
        write("6", 4, 5),
        read("6", 6, 7),
        read("5", 8, 9),
    ],
    "a set seen before it was called": [read("5", 1, 2), write("5", 3, 4)],
    "an unknown set seen before it was called": [read("5", 1, 2), write("5", 3, None)],
    "a deleted value that comes back": [
        write("5", 1, 2),
        delete(True, 3, 4),
        read("5", 5, 6),
    ],
    "a delete that finds nothing where something is": [write("5", 1, 2), delete(False, 3, 4)],
    "a delete that finds something where nothing is": [delete(True, 1, 2)],
    "two deletes of one value": [write("5", 1, 2), delete(True, 3, 6), delete(True, 4, 5)],
    "an absence where an empty value is": [write("", 1, 2), read(None, 3, 4)],
    "a cas that met what was overwritten": [
        write("5", 1, 2),
        write("6", 3, 4),
        cas("5", "7", 5, 6),
    ],
    "a cas that missed what is there": [write("5", 1, 2), cas("5", "6", 3, 4, True)],
    "a cas that found nothing where something is": [
        write("5", 1, 2),
        cas("6", "7", 3, 4, False),
    ],
    "two cas that met one value": [
        write("5", 1, 2),
        cas("5", "6", 3, 9),
        cas("5", "7", 3, 9),
    ],
    "an unknown cas without what it needs": [
        write("5", 1, 2),
        cas("6", "7", 3, None),
        read("7", 4, 5),
    ],
    "an unknown cas done twice": [
        write("5", 1, 2),
        cas("5", "6", 3, None),
        read("6", 4, 5),
        write("5", 6, 7),
        read("6", 8, 9),
    ],
}


@pytest.mark.parametrize("name", GOOD)
def test_a_history_that_one_copy_could_give_is_accepted(name: str) -> None:
    assert check(GOOD[name]).verdict is HistoryVerdict.LINEARIZABLE


@pytest.mark.parametrize("name", BAD)
def test_a_history_that_no_single_copy_gives_is_refused(name: str) -> None:
    assert check(BAD[name]).verdict is HistoryVerdict.VIOLATED


def test_written_order_of_a_history_does_not_matter() -> None:
    """The order in which a history is written down does not matter."""
    assert check(reversed(GOOD["an unknown set that happens after another"])).key is None
    assert check(reversed(BAD["a stale get"])).key == "b"


def test_violation_names_its_key_and_shows_its_lines() -> None:
    """A violation names its key and shows the lines to look at."""
    before = [write(str(n), n, n + 0.5) for n in range(100)]
    good = [write("1", 1, 2, key="a"), read("1", 3, 4, key="a")]
    after = [read("99", 203, 204)]
    report = check([*good, *before, read("17", 201, 202), *after])
    assert report.key == "b"
    assert report.excerpt[0] == (
        "client2@get b -> 17   (asked 201, answered 202) fits no order: b was 99 at best"
    )
    assert report.excerpt[1] == "client1@set b 17 -> done   (asked 17, answered 17.5)"
    assert report.excerpt[-1] == "client1@set b 99 -> done   (asked 99, answered 99.5)"
    assert len(report.excerpt) <= 13


def test_the_excerpt_shows_absences_deletes_and_unknown_outcomes() -> None:
    report = check(
        [
            write("5", 1, None),
            delete(False, 2, 3),
            read(None, 4, 5),
            read("6", 6, 7),
        ]
    )
    assert report.excerpt == [
        "client2@get b -> 6   (asked 6, answered 7) fits no order: b was absent at best",
        "client1@set b 5 -> outcome unknown   (asked 1)",
        "client3@delete b -> no such key   (asked 2, answered 3)",
        "client2@get b -> no such key   (asked 4, answered 5)",
    ]


def test_a_search_that_takes_too_long_gives_up_and_reports_it() -> None:
    at_once = [write(str(n), 0, 1000) for n in range(30)]
    never_set = [read("x", 0, 1000)]
    report = check([*at_once, *never_set], steps_max=500)
    assert report.verdict is HistoryVerdict.GAVE_UP
    assert report.excerpt == ["b: no verdict after 500 steps"]


def test_violation_is_found_though_another_key_is_given_up() -> None:
    """A violation is found though the search gives up on another key."""
    at_once = [write(str(n), 0, 1000, key="a") for n in range(30)]
    report = check([*at_once, read("x", 0, 1000, key="a"), read("7", 3, 4)], steps_max=500)
    assert (report.verdict, report.key) == (HistoryVerdict.VIOLATED, "b")


def test_many_unknown_writes_do_not_slow_the_search_down() -> None:
    unknown = [write(str(n), n, None) for n in range(200)]
    known = [write(f"k{n}", 1000 + 4 * n, 1001 + 4 * n) for n in range(200)]
    reads = [read(f"k{n}", 1002 + 4 * n, 1003 + 4 * n) for n in range(200)]
    report = check([*unknown, *known, *reads])
    assert report.verdict is HistoryVerdict.LINEARIZABLE
    assert report.steps < 1000
    lost = check([*unknown, *known, *reads, read("k5", 5000, 5001)])
    assert lost.verdict is HistoryVerdict.VIOLATED
    assert lost.steps < 1000


def random_history(chance: random.Random, size: int) -> list[ClientOperation]:
    """Return what clients see of an atomic store: each operation takes effect at one moment between
    call and answer; an unknown one at any moment after its call, or never."""
    moments = []
    for number in range(size):
        called_at = chance.uniform(0, size)
        verb: Literal["get", "set", "delete", "cas"] = chance.choice(
            ["get", "set", "set", "delete", "cas"]
        )
        unknown = chance.random() < 0.15
        happens_at = called_at + chance.expovariate(0.5) * (3 if unknown else 1)
        if unknown and chance.random() < 0.5:
            happens_at = float("inf")
        operation = ClientOperation(
            f"client{number}",
            verb,
            chance.choice(KEYS),
            str(number) if verb in ("set", "cas") else None,
            called_at,
            None if unknown else happens_at + chance.expovariate(0.5),
        )
        moments.append((happens_at, operation))
    held: dict[str, str] = {}
    history = []
    for happens_at, operation in sorted(moments, key=lambda moment: moment[0]):
        if operation.verb == "get":
            history.append(replace(operation, value=held.get(operation.key)))
            continue
        found = operation.key in held
        if operation.verb == "cas":
            history.append(seen_cas(operation, held, happens_at, chance))
            continue
        if operation.value is not None and happens_at != float("inf"):
            held[operation.key] = operation.value
        elif operation.verb == "delete" and happens_at != float("inf"):
            held.pop(operation.key, None)
        known_delete = operation.verb == "delete" and operation.returned_at is not None
        history.append(replace(operation, found=found) if known_delete else operation)
    chance.shuffle(history)
    return history


def seen_cas(
    operation: ClientOperation, held: dict[str, str], happens_at: float, chance: random.Random
) -> ClientOperation:
    """Carry a cas out that looks for what is there, or not; return what its client sees."""
    found = held.get(operation.key)
    old = found if found is not None and chance.random() < 0.6 else str(chance.randrange(60))
    if found == old and operation.value is not None and happens_at != float("inf"):
        held[operation.key] = operation.value
    operation = replace(operation, old=old)
    if operation.returned_at is None:
        return operation
    return replace(
        operation, found=None if found == old else found is not None, matched=found == old
    )


@given(seed=st.integers(0, 2**32), size=st.integers(0, 60))
def test_a_history_of_an_atomic_store_is_always_accepted(seed: int, size: int) -> None:
    report = check(random_history(random.Random(seed), size))
    assert report.verdict is HistoryVerdict.LINEARIZABLE


@given(seed=st.integers(0, 2**32), size=st.integers(5, 60))
def test_an_answer_with_a_value_never_written_is_always_refused(seed: int, size: int) -> None:
    chance = random.Random(seed)
    history = random_history(chance, size)
    history.append(read("never written", chance.uniform(0, size), size + 1))
    assert check(history).verdict is HistoryVerdict.VIOLATED


def test_get_of_an_overwritten_value_is_nearly_always_refused() -> None:
    """A get exchanged for an overwritten value is nearly always refused."""
    refused = spoiled = 0
    for seed in range(200):
        chance = random.Random(seed)
        history = random_history(chance, 60)
        last_s = max(o.returned_at for o in history if o.returned_at is not None)
        written = [o for o in history if o.verb == "set" and o.returned_at is not None]
        first = min(written, key=lambda o: o.returned_at or 0)
        over = [o for o in written if o.key == first.key and o.called_at > (first.returned_at or 0)]
        if over:
            spoiled += 1
            history.append(read(first.value, last_s + 1, last_s + 2, key=first.key))
            refused += check(history).verdict is HistoryVerdict.VIOLATED
    assert spoiled > 150
    assert refused == spoiled  # what a known set overwrote before the call never comes back


@given(seed=st.integers(0, 2**32))
def test_the_search_agrees_with_trying_every_order(seed: int) -> None:
    chance = random.Random(seed)
    history = [replace(o, key="b") for o in random_history(chance, 6)]
    for place, operation in enumerate(history):  # spoil some answers, so that both verdicts come
        if operation.verb == "get" and chance.random() < 0.5:
            value = chance.choice([None, *(o.value for o in history if o.verb == "set")])
            history[place] = replace(operation, value=value)
        elif operation.found is not None and chance.random() < 0.5:
            history[place] = replace(operation, found=chance.random() < 0.5)
        elif operation.matched and chance.random() < 0.5:
            history[place] = replace(operation, matched=False, found=True)
    expected = (
        HistoryVerdict.LINEARIZABLE if some_order_fits(history, None) else HistoryVerdict.VIOLATED
    )
    assert check(history).verdict is expected


def some_order_fits(left: list[ClientOperation], held: str | None) -> bool:
    """Try every order, the slow and plain way."""
    answered = [o.returned_at for o in left if o.returned_at is not None]
    if not answered:
        return True
    for operation in left:
        if operation.called_at > min(answered):
            continue
        unknown = operation.returned_at is None
        if operation.verb == "get" and operation.value != held and not unknown:
            continue
        if operation.found is not None and operation.found is not (held is not None):
            continue
        wants_match = operation.matched is not False
        if operation.verb == "cas" and (operation.old == held) is not wants_match:
            continue
        after = held if operation.is_idle else operation.value
        if some_order_fits([o for o in left if o is not operation], after):
            return True
    return False
