"""The work that a command counts, held against the processor time that it takes.

An entry may count 64 MiB of work, so each node applies it within a few seconds. The walk is over
the table of commands: each with long values of every type, and with words that make it look at all
of their elements. The unit is the time of a plain loop on this machine, measured next to it.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Final

import pytest

from raftline.redis.command_effects import TRIED_BYTES, estimate
from raftline.redis.resp.entry import counted_answer, format_entry
from raftline.redis.resp.functions import FUNCTIONS
from raftline.redis.resp.limits import REDIS_QUEUED
from raftline.redis.resp.replies import Failure
from raftline.redis.resp.request_ledger import OverLedgerError, RequestLedger
from raftline.redis.resp.scripts import key_of, sha_of
from raftline.redis.resp.view import HeldKey, View, held_of
from raftline.redis.tests.core.command_words import LONG, READS, SHORT, VALUES, WORDS, words_of
from raftline.state.store import Store
from raftline.state.work import needs_trial
from raftline.wire.limits import ANSWER_BYTES, REQUEST_WORK_BYTES
from raftline.wire.operands.operands import Limits
from raftline.wire.protocol import unescape
from raftline_testing.runner.at_night import at_night, in_the_rest
from raftline_testing.work_unit import FACTOR, excess_of, took

VALUES_HELD: Final = 40  # times the value, in addition: of its elements, and of tables of them
LEAST_HELD: Final = 64 << 10  # bytes of the view, the ledger and the reply

ABSENT: Final = HeldKey()
QUICK: Final = ("text", "number", "short elements", "set of one", "hash", "equal scores", "stream")


@cache
def _short(value: str) -> HeldKey:
    return held_of(value[:60].rpartition(" ")[0] or "x", "")


class Cost:
    """A command on a value: what it counts, and a way to carry it out again."""

    def __init__(self, value: str, words: list[str]) -> None:
        self._held = {"K": held_of(value, ""), "J": _short(value), "I": _short(value)}
        self._held[key_of(sha_of(READS))] = HeldKey(READS)
        self.words = words
        self.ledger = RequestLedger(Limits().line_bytes)

    def carry_out(self) -> bool:
        """Carry it out; return whether it did something."""
        self.ledger = RequestLedger(Limits().line_bytes)
        view = View(self._key, lambda lease: 1, 1_764_351_306_000, self.ledger, str)
        try:
            value = view.attempt(FUNCTIONS[self.words[0]].decide, list(self.words))
            counted_answer(value, self.ledger)
        except OverLedgerError:
            return True
        return not isinstance(value, Failure)

    def _key(self, key: str) -> HeldKey:
        return self._held.get(key, ABSENT)

    def counted(self) -> int:
        """Return the part of an entry's work that it counts."""
        returned = self.ledger.returned * (REQUEST_WORK_BYTES // ANSWER_BYTES)
        least = REQUEST_WORK_BYTES // REDIS_QUEUED
        return max(least, min(self.ledger.worked, REQUEST_WORK_BYTES), returned)

    def excess(self) -> str:
        """Return by how much it takes more time than it counts, or ""."""
        return excess_of(lambda: (took(self.carry_out), self.counted()))


def _walked(name: str, size: int) -> Iterator[tuple[str, str, Cost]]:
    """Yield the costs of each command on a value. One that does not fit its type takes time,
    too."""
    value = VALUES[name](size)
    for command in FUNCTIONS:
        for operands in words_of(command):
            words = [command, *map(unescape, operands.split(" "))]
            yield command, " ".join(words)[:60], Cost(value, words)


def _walk(size: int, names: Iterable[str]) -> set[str]:
    wrong, done = dict[str, str](), set[str]()
    for name in names:
        for command, words, cost in _walked(name, size):
            if cost.carry_out():
                done.add(command)
            if excess := cost.excess():
                wrong[f"{name}: {words}"] = excess
    assert not wrong
    return done


def test_each_command_has_words_for_its_work() -> None:
    """A new command is walked, too."""
    assert all(map(words_of, FUNCTIONS))
    assert {name for names in WORDS for name in names.split()} <= set(FUNCTIONS)


@pytest.mark.pure  # compiled code takes another time for the same work
@pytest.mark.slow
def test_no_command_takes_more_time_than_it_counts() -> None:
    """Its value may have equal scores, one long element, many short ones, or escapes."""
    done = _walk(SHORT, QUICK)
    assert done == set(FUNCTIONS), "each command has fitted some value"


def _held_by(cost: Cost) -> int:
    tracemalloc.start()
    try:
        cost.carry_out()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.pure
@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("HRANDFIELD K -100", "hash of one"),
        ("SRANDMEMBER K -100", "set of one"),
        ("ZRANDMEMBER K -100", "sorted set of one"),
        ("HMGET K" + " a" * 100, "escaped hash of one"),
    ],
)
def test_long_element_that_is_asked_for_often_is_not_copied(words: str, name: str) -> None:
    """A few bytes would take the memory of the node."""
    assert _held_by(Cost(VALUES[name](LONG), words.split())) < VALUES_HELD * LONG


@pytest.mark.pure
@pytest.mark.parametrize(
    ("name", "size"),
    [
        (QUICK[-1], SHORT),
        *[in_the_rest(name, SHORT) for name in QUICK[:-1]],
        *at_night(*[(name, LONG) for name in VALUES]),
    ],
)
def test_no_command_holds_more_memory_than_it_counts(name: str, size: int) -> None:
    """The unit of work is the time of a byte, and no more than a few bytes are made in it."""
    wrong = {}
    for _, words, cost in _walked(name, size):
        if size == SHORT and "00000" in words:  # many elements of few
            continue
        held = _held_by(cost)
        most = FACTOR * cost.counted() + VALUES_HELD * size + LEAST_HELD
        if held > most:
            wrong[words] = f"{held:,} bytes; {most:,.0f} are right"
    assert not wrong


@pytest.mark.parametrize(
    ("name", "size"),
    [
        (QUICK[1], SHORT),
        *[in_the_rest(name, SHORT) for name in QUICK if name != QUICK[1]],
        *at_night(*[(name, LONG) for name in VALUES]),
    ],
)
def test_estimate_is_no_less_than_the_part_of_a_bound(name: str, size: int) -> None:
    """An entry that would be refused is tried out before it is one: its estimate says so."""
    value, wrong = VALUES[name](size), dict[str, float]()
    short = _short(value).formatted
    store = Store({"K": value, "J": short, "I": short}, is_at_floor=False)
    for _, words, cost in _walked(name, size):
        cost.carry_out()
        ledger = cost.ledger
        part = max(ledger.worked / REQUEST_WORK_BYTES, ledger.returned / ANSWER_BYTES)
        line = format_entry(1, [cost.words])
        if not needs_trial(store, line) and estimate(store, line) / TRIED_BYTES < part:
            wrong[words] = part
    assert not wrong


@pytest.mark.nightly
@pytest.mark.pure
@pytest.mark.parametrize("name", VALUES)
def test_no_command_takes_more_time_on_a_megabyte(name: str) -> None:
    _walk(LONG, [name])


@pytest.mark.parametrize("words", ["LRANGE K 0 9", "LRANGE K -10 -1", "LINDEX K 5", "LINDEX K -1"])
def test_an_end_of_a_long_list_costs_a_fraction_of_the_whole(words: str) -> None:
    """Only the elements up to the place are parted from the others."""
    value = VALUES["short elements"](LONG)
    near, whole = Cost(value, words.split()), Cost(value, ["LRANGE", "K", "0", "-1"])
    assert near.carry_out()
    assert whole.carry_out()
    assert near.ledger.worked < whole.ledger.worked / 5
