"""The work that a command counts, held against the processor time that it takes.

An entry may count 64 MiB of work, so each node applies it within a few seconds. The walk is over
the table of commands: each with long values of every type, and with words that make it look at all
of their elements. The unit is the time of a plain loop on this machine, measured next to it.
"""

from __future__ import annotations

import itertools
import string
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Final

import pytest

from raftline.doors.redis.resp.entry import counted_answer
from raftline.doors.redis.resp.functions import FUNCTIONS
from raftline.doors.redis.resp.known_scripts.scripts import CALL, CALL_READ
from raftline.doors.redis.resp.limits import REDIS_QUEUED
from raftline.doors.redis.resp.replies import Failure
from raftline.doors.redis.resp.request_ledger import OverLedgerError, RequestLedger
from raftline.doors.redis.resp.view import HeldKey, View, held_of
from raftline.wire.limits import ANSWER_BYTES, REQUEST_WORK_BYTES, VALUE_BYTES
from raftline.wire.operands.operands import Limits
from raftline_testing.runner.at_night import at_night

FACTOR: Final = 3.0  # a command may take so many times what it counts
TRIES: Final = 6
VALUES_HELD: Final = 40  # times the value, in addition: of its elements, and of tables of them
LEAST_HELD: Final = 64 << 10  # bytes of the view, the ledger and the reply
LOOP: Final = 20_000  # elements of the loop that is the measure
LOOP_COUNTED: Final = 20 * LOOP

NINE: Final = "1 2 3 4 5 6 7 8 9"
PAIRS: Final = " ".join(f"1 {each}" for each in NINE.split())
FIELDS: Final = " ".join(f"{each} 1" for each in NINE.split())
# The operands after the keys, for commands of some form; `K` is a key with a value, `J` another.
WORDS: Final = {
    "HSET HMSET": ["K a 2", f"K {FIELDS}"],
    "HSETNX HINCRBY HINCRBYFLOAT": ["K zz 1", "K a 1"],
    "HGET HEXISTS HSTRLEN": ["K zzzzz"],
    "HMGET HDEL": ["K a", "K a b c d e f g h", f"K {NINE}"],
    "HGETALL HKEYS HVALS HLEN LLEN SCARD ZCARD XLEN SMEMBERS TYPE STRLEN GET GETDEL PERSIST "
    "TTL PTTL EXPIRETIME PEXPIRETIME": ["K"],
    "HRANDFIELD SRANDMEMBER ZRANDMEMBER": [
        "K", "K 100000", "K -1", "K -1000", "K -400000", "K -20000000", "K -67000000",
    ],
    "HSCAN SSCAN ZSCAN": [
        "K 0", "K 0 MATCH zzzzz", "K 0 MATCH *?*?*?*b", "K 0 MATCH *" + "[^a]" * 250,
    ],
    "LPUSH RPUSH LPUSHX RPUSHX SADD SREM ZREM": ["K a", "K a b c d e f g h", f"K {NINE} 10"],
    "LPOP RPOP SPOP ZPOPMIN ZPOPMAX": ["K", "K 100000"],
    "LMOVE": ["K K LEFT RIGHT", "K J LEFT RIGHT"],
    "RPOPLPUSH": ["K K", "K J"],
    "LMPOP": ["1 K LEFT COUNT 100000", "3 K K K RIGHT"],
    "ZMPOP": ["1 K MIN COUNT 100000", "3 K K K MAX"],
    "LRANGE ZRANGE ZREVRANGE LTRIM GETRANGE SUBSTR ZREMRANGEBYRANK": [
        "K 0 0", "K 0 -1", "K 1 -1", "K -1 -1",
    ],
    "LINDEX": ["K -1", "K 0"],
    "LSET": ["K -1 zz", "K 0 zz"],
    "LREM": ["K 1 zz", "K 1 a", "K -1 a", "K 0 a"],
    "LINSERT": ["K BEFORE zz c", "K AFTER a c"],
    "LPOS": ["K zz", "K a RANK -1", "K a COUNT 0 MAXLEN 0"],
    "SISMEMBER": ["K zz"],
    "SMISMEMBER": ["K a", f"K {NINE}"],
    "SMOVE": ["K J a", "K J zz"],
    "SINTER SUNION SDIFF": ["K", "K K", "K" + " J" * 2000, "K K K K"],
    "SINTERSTORE SUNIONSTORE SDIFFSTORE": ["J K K", "J K", "J K" + " I" * 2000],
    "SINTERCARD": ["2 K K", "1 K LIMIT 1", "3 K K J"],
    "ZADD": ["K 1 zzzz0", f"K {PAIRS.rpartition(' 1 ')[0]}", f"K {PAIRS}", "K XX 7 a"],
    "ZINCRBY": ["K 1 a"],
    "ZSCORE ZRANK ZREVRANK": ["K a", "K zzzzz"],
    "ZMSCORE": ["K a", f"K {NINE}"],
    "ZCOUNT ZREMRANGEBYSCORE ZRANGEBYSCORE": ["K 1 1", "K (1 2", "K -inf +inf", "K (1 (1"],
    "ZREVRANGEBYSCORE": ["K 1 1 LIMIT 0 0", "K +inf -inf", "K 2 (1"],
    "ZLEXCOUNT ZREMRANGEBYLEX ZRANGEBYLEX": ["K - +", "K [zzzz +", "K - (a"],
    "ZREVRANGEBYLEX": ["K + - LIMIT 0 0", "K + [zzzz"],
    "ZRANGESTORE": ["J K 0 -1", "J K (1 2 BYSCORE", "J K 1 1 BYSCORE LIMIT 0 1", "J K - + BYLEX"],
    "ZUNION ZINTER ZDIFF": ["1 K", "2 K K", "3 K J I", "2 K K WITHSCORES"],
    "ZUNIONSTORE ZINTERSTORE ZDIFFSTORE": ["J 1 K", "J 2 K K", "J 3 K J I"],
    "XADD": ["K * a 1", "K MAXLEN 5 * a 1", "K MINID 0 * a 1", "K MINID 1-5000 * a 1"],
    "XTRIM": ["K MAXLEN 5", "K MAXLEN 10000000", "K MINID 0", "K MINID 1-5000"],
    "XDEL": ["K 5-5", "K 1-5"],
    "XRANGE": ["K 5 5", "K - +", "K - + COUNT 1"],
    "XREVRANGE": ["K 5 5", "K + -", "K + - COUNT 1"],
    "XREAD": ["STREAMS K 9-9", "STREAMS K 0", "COUNT 1 STREAMS K 0", "STREAMS K K K 0 0 9-9"],
    "BLPOP BRPOP BZPOPMIN BZPOPMAX": ["K 0", "J I K 0"],
    "BLMPOP": ["0 1 K LEFT COUNT 100000"],
    "BZMPOP": ["0 1 K MIN COUNT 100000"],
    "BLMOVE": ["K J LEFT LEFT 0"],
    "BRPOPLPUSH": ["K J 0"],
    "SET": ["K x", "K x XX GET", "K x IFEQ y"],
    "GETSET SETNX APPEND": ["K x"],
    "GETEX": ["K", "K EX 100"],
    "SETEX PSETEX": ["K 100 x"],
    "MGET EXISTS TOUCH DEL UNLINK": ["K", "K" + " K" * 200],
    "MSET MSETNX": ["K x", "J x I y"],
    "SETRANGE": ["K 0 x", "K 1000000 x"],
    "INCR": ["K"],
    "INCRBY DECRBY INCRBYFLOAT": ["K 1"],
    "DECR": ["K"],
    "DELEX": ["K", "K IFEQ z"],
    "RENAME RENAMENX": ["K J"],
    "COPY": ["K J REPLACE"],
    "EXPIRE PEXPIRE EXPIREAT PEXPIREAT": ["K 100000"],
    "PUBLISH": ["K x"],
}  # fmt: skip
OF_SCRIPTS: Final = (CALL, CALL_READ)  # they run the others, each call of which counts


def _names() -> Iterator[str]:
    for size in itertools.count(1):
        yield from map("".join, itertools.product(string.ascii_lowercase + "5", repeat=size))


def _filled(begin: str, words: Iterator[str], size: int) -> str:
    """Return a value of this size with as many elements as fit."""
    found, left = [begin], size - len(begin)
    for word in words:
        left -= 1 + len(word)
        if left < 0:
            break
        found.append(word)
    return " ".join(found)


SHORT: Final = 32 << 10  # bytes of a value whose walk takes seconds
LONG: Final = VALUE_BYTES - (1 << 10)
VALUES: Final[dict[str, Callable[[int], str]]] = {
    "text": lambda size: "x" * size,
    "wide text": lambda size: "é" * (size // 2),
    "number": lambda size: "7",
    "short elements": lambda size: _filled(r"\slist", itertools.repeat("a"), size),
    "escaped elements": lambda size: _filled(r"\slist", itertools.repeat(r"\x01"), size),
    "one element": lambda size: rf"\slist {'x' * size}",
    "set": lambda size: _filled(r"\sset", _names(), size),
    "escaped set": lambda size: _filled(r"\sset", (rf"\x01{each}" for each in _names()), size),
    "escaped set of one": lambda size: rf"\sset \x01{'x' * (size - 4)}",
    "set of one": lambda size: rf"\sset {'x' * size}",
    "hash": lambda size: _filled(r"\shash", (f"{each}=1" for each in _names()), size),
    "escaped hash": lambda size: _filled(
        r"\shash", (rf"{each}\x01=\x01" for each in _names()), size
    ),
    "hash of one": lambda size: rf"\shash a={'x' * size}",
    "equal scores": lambda size: _filled(
        r"\szset", iter(sorted(f"1={each}" for each in itertools.islice(_names(), size // 7))), size
    ),
    "scores": lambda size: _filled(r"\szset", (f"{at}={at}" for at in itertools.count()), size),
    "escaped scores": lambda size: _filled(
        r"\szset", (rf"{at}=\x01{at}" for at in itertools.count()), size
    ),
    "sorted set of one": lambda size: rf"\szset 1={'x' * size}",
    "stream": lambda size: _filled(
        r"\sstream 9-9", (f"1-{at}:a=" for at in itertools.count(1)), size
    ),
    "entry of many": lambda size: r"\sstream 9-9 1-1:" + ",".join(["a="] * (size // 4)),
}


QUICK: Final = ("text", "number", "short elements", "set of one", "hash", "equal scores", "stream")


def _operands(name: str) -> list[str]:
    return [words for names, some in WORDS.items() if name in names.split() for words in some]


@cache
def _short(value: str) -> HeldKey:
    return held_of(value[:60].rpartition(" ")[0] or "x", "")


class Cost:
    """A command on a value: what it counts, and a way to carry it out again."""

    def __init__(self, value: str, words: list[str]) -> None:
        self._held = {"K": held_of(value, ""), "J": _short(value), "I": _short(value)}
        self._words = words
        self.ledger = RequestLedger(Limits().line_bytes)

    def carry_out(self) -> bool:
        """Carry it out; return whether it did something."""
        self.ledger = RequestLedger(Limits().line_bytes)
        view = View(self._held.__getitem__, lambda lease: 1, 1_764_351_306_000, self.ledger)
        try:
            value = view.attempt(FUNCTIONS[self._words[0]].decide, list(self._words))
            counted_answer(value, self.ledger)
        except OverLedgerError:
            return True
        return not isinstance(value, Failure)

    def counted(self) -> int:
        """Return the part of an entry's work that it counts."""
        returned = self.ledger.returned * (REQUEST_WORK_BYTES // ANSWER_BYTES)
        least = REQUEST_WORK_BYTES // REDIS_QUEUED
        return max(least, min(self.ledger.worked, REQUEST_WORK_BYTES), returned)


def _took(run: object) -> float:
    assert callable(run)
    begin = time.process_time()
    run()
    return time.process_time() - begin


def _loop() -> float:
    return sum([float(each.partition("=")[0]) for each in ["12=abc"] * LOOP])


def excess_of(cost: Cost) -> str:
    """Return by how much a command takes more than it counts, or "". A busy machine may be slow
    once, so too much time counts if it is taken every time."""
    ratios = []
    for _ in range(TRIES):
        unit_s = max(_took(_loop), 1e-4) / LOOP_COUNTED
        ratios.append(_took(cost.carry_out) / (unit_s * cost.counted()))
        if ratios[-1] <= FACTOR:
            return ""
    return f"{min(ratios):.1f} times what it counts"


def _walked(name: str, size: int) -> Iterator[tuple[str, str, Cost]]:
    """Yield the costs of each command on a value, as far as it fits the type."""
    value = VALUES[name](size)
    for command in FUNCTIONS:
        for operands in _operands(command):
            cost = Cost(value, [command, *operands.split(" ")])
            if cost.carry_out():
                yield command, f"{command} {operands}"[:60], cost


def _walk(size: int, names: Iterable[str]) -> set[str]:
    wrong, done = dict[str, str](), set[str]()
    for name in names:
        for command, words, cost in _walked(name, size):
            done.add(command)
            if excess := excess_of(cost):
                wrong[f"{name}: {words}"] = excess
    assert not wrong
    return done


def test_each_command_has_words_for_its_work() -> None:
    """A new command is walked, too."""
    assert [name for name in FUNCTIONS if not _operands(name)] == list(OF_SCRIPTS)
    assert {name for names in WORDS for name in names.split()} <= set(FUNCTIONS)


@pytest.mark.pure  # compiled code takes another time for the same work
def test_no_command_takes_more_time_than_it_counts() -> None:
    """Its value may have equal scores, one long element, many short ones, or escapes."""
    done = _walk(SHORT, QUICK)
    assert done == set(FUNCTIONS) - set(OF_SCRIPTS), "each command has fitted some value"


def _held_by(cost: Cost) -> int:
    tracemalloc.start()
    try:
        cost.carry_out()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.pure
@pytest.mark.parametrize(
    ("name", "size"),
    [*[(name, SHORT) for name in QUICK], *at_night(*[(name, LONG) for name in VALUES])],
)
def test_no_command_holds_more_memory_than_it_counts(name: str, size: int) -> None:
    """The unit of work is the time of a byte, and no more than a few bytes are made in it."""
    wrong = {}
    for _, words, cost in _walked(name, size):
        if size == SHORT and "00000" in words:  # many elements of few
            continue
        most = FACTOR * cost.counted() + VALUES_HELD * size + LEAST_HELD
        held = _held_by(cost)
        if held > most:
            wrong[words] = f"{held:,} bytes; {most:,.0f} are right"
    assert not wrong


@pytest.mark.nightly
@pytest.mark.pure
@pytest.mark.parametrize("name", VALUES)
def test_no_command_takes_more_time_on_a_megabyte(name: str) -> None:
    _walk(LONG, [name])
