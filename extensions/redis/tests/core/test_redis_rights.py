"""The rights that each command of Redis takes are what a measurement finds that it does.

Each command is carried out on random words, then again with another value behind one of its keys.
docs/use/users.md has the rule: `write` alone tells at most whether a key exists and will end, its
type and its length.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from typing import NamedTuple

import pytest

from raftline.redis.resp.entry import format_answer
from raftline.redis.resp.functions import FUNCTIONS
from raftline.redis.resp.replies import Failure
from raftline.redis.resp.request_ledger import OverLedgerError, RequestLedger
from raftline.redis.resp.view import HeldKey, View, held_of
from raftline.state.commands.key_commands import execute
from raftline.state.store import Store
from raftline_testing.runner.at_night import at_night

KEYS = ("k1", "k2", "k3")
NOW_MS = 1_764_351_306_000
LEASE = "own-5-60"
# Each line has commands that make values which differ in what they contain alone: they have the
# same type and length, and a stream the same last element.
MADE = (
    ("SET k 5", "SET k 7", "SET k a"),
    ("SET k 1.5", "SET k 2.5", "SET k abc"),
    ("HSET k a 1 b 2", "HSET k a 7 z 2", "HSET k 1 5 2 5"),
    ("RPUSH k a b a", "RPUSH k z b b", "RPUSH k 5 1 2"),
    ("SADD k a b 1", "SADD k z y 5", "SADD k a y 2"),
    ("ZADD k 1 a 2 b", "ZADD k 3 a 9 z", "ZADD k 1 y 1 z"),
    ("XADD k 5-0 a 1 ; XADD k 5-1 b 2", "XADD k 4-0 a 1 ; XADD k 5-1 z 3"),
)
WORDS = (
    *["a", "b", "1", "2"] * 4, "z", "0", "-1", "5", "7", "100", "LEFT", "RIGHT", "BEFORE", "AFTER",
    "MIN", "MAX", "NX", "XX", "GT", "LT", "CH", "INCR", "GET", "EX", "PX", "IFEQ", "IFNE",
    "KEEPTTL", "COUNT", "LIMIT", "BYSCORE", "BYLEX", "REV", "WITHSCORES", "STREAMS", "*", "5-0",
    "5-1", "0-0", "9-9", "MAXLEN", "MINID", "[a", "[z", "-", "+", "(1", "inf", "REPLACE", "PERSIST",
    "MATCH",
)  # fmt: skip
# Words that chance seldom finds; K is any key, and a bar divides choices.
FORMS = {
    "SET": "K 5 IFEQ 5|K 5 IFNE 5|K 5 GET|K 5 NX|K 5 XX",
    "LMPOP": "2 K K LEFT", "ZMPOP": "2 K K MIN", "BLMPOP": "0 2 K K LEFT", "BZMPOP": "0 2 K K MIN",
    "XREAD": "STREAMS K K 0 0", "ZUNIONSTORE": "K 2 K K", "ZINTERSTORE": "K 2 K K",
    "ZDIFFSTORE": "K 2 K K", "ZUNION": "2 K K", "ZINTER": "2 K K", "ZDIFF": "2 K K",
    "SINTERCARD": "2 K K", "ZINTERCARD": "2 K K", "COPY": "K K REPLACE", "ZRANGESTORE": "K K 0 -1",
    "LMOVE": "K K LEFT RIGHT", "BLMOVE": "K K LEFT RIGHT 0", "RPOPLPUSH": "K K", "SMOVE": "K K a",
    "XADD": "K 9-9 a 1", "LINSERT": "K BEFORE a z", "BLPOP": "K K 0", "BRPOP": "K K 0",
    "BZPOPMIN": "K K 0", "BZPOPMAX": "K K 0", "BRPOPLPUSH": "K K 0", "XRANGE": "K - +",
    "XREVRANGE": "K + -", "XTRIM": "K MINID 5-0", "ZLEXCOUNT": "K - +", "ZRANGE": "K 0 -1",
    "ZREVRANGE": "K 0 -1", "ZRANGEBYLEX": "K - +", "ZREVRANGEBYLEX": "K + -", "LPOS": "K a",
    "ZREMRANGEBYRANK": "K 0 0", "ZREMRANGEBYSCORE": "K 0 2", "ZREMRANGEBYLEX": "K [a [a",
    "ZADD": "K 5 a", "ZRANGEBYSCORE": "K 0 5", "ZREVRANGEBYSCORE": "K 5 0", "ZCOUNT": "K 0 2",
    "GETEX": "K EX 5", "EXPIRE": "K 9 GT",
    "PEXPIRE": "K 9000 GT", "EXPIREAT": "K 1764351315 GT", "PEXPIREAT": "K 1764351315000 GT",
    "DELEX": "K IFEQ 5|K IFNE 5", "XDEL": "K 5-0", "HSCAN": "K 0", "SSCAN": "K 0", "ZSCAN": "K 0",
    "HINCRBY": "K a 1", "HINCRBYFLOAT": "K a 1", "ZINCRBY": "K 1 a", "SETRANGE": "K 1 x",
    "HSET": "K a 1", "HMSET": "K a 1", "MSET": "K 1 K 2", "MSETNX": "K 1 K 2",
    "LSET": "K 0 a", "LTRIM": "K 0 1", "GETRANGE": "K 0 1", "SUBSTR": "K 0 1", "LREM": "K 0 a",
}  # fmt: skip
OFTEN = 100  # tries without a difference, after which there seems to be none
TRIED = [name for name in FUNCTIONS if not FUNCTIONS[name].is_entry]


class Held(NamedTuple):
    """A value as the store has it, and the time that its key has left."""

    text: str
    left_ms: int


class Done(NamedTuple):
    """The effect of a command: its reply, and what it has written elsewhere by key."""

    reply: str
    has_failed: bool
    written: dict[str, str | None]


def texts(commands: tuple[str, ...]) -> list[str]:
    made = []
    for command in commands:
        store = Store(is_at_floor=False)
        assert '"error"' not in execute(store, f"redis {NOW_MS} {command}")
        made.append(store["k"])
    return made


VALUES = [texts(each) for each in MADE]


def carried_out(words: list[str], held: dict[str, Held]) -> Done:
    def look(key: str) -> HeldKey:
        return held_of(held[key].text, LEASE) if key in held else HeldKey()

    left = next(iter(held.values())).left_ms if held else 1
    view = View(look, lambda lease: left, NOW_MS, RequestLedger(1 << 20), str)
    try:
        reply = view.attempt(FUNCTIONS[words[0]].decide, list(words))
    except OverLedgerError as over:
        reply = Failure(str(over))
    written = {key: now.value for key, now in view.changes() if now.is_written}
    return Done(format_answer(reply), isinstance(reply, Failure), written)


def example(name: str, chance: random.Random) -> list[str]:
    """Return a command with random words."""
    function = FUNCTIONS[name]
    if name in FORMS and chance.random() < 0.6:
        form = chance.choice(FORMS[name].split("|")).split()
        form = [chance.choice(KEYS) if word == "K" else word for word in form]
        words = [name, *form]
        if function.arity < 0 and chance.random() < 0.3:
            words.append(chance.choice(WORDS))
        return words
    count = abs(function.arity) - 1 + (chance.randrange(3) if function.arity < 0 else 0)
    words = [name, *chance.choices(WORDS, k=count)]
    for place, word in enumerate(words):
        if place and word in function.keys_in(words):
            words[place] = chance.choice(KEYS)
    return words


def others(held: dict[str, Held], key: str, chance: random.Random) -> dict[str, Held]:
    """Return the keys with another value or another time behind this one."""
    kind = next(values for values in VALUES if held[key].text in values)
    text = chance.choice([each for each in kind if each != held[key].text])
    return {**held, key: Held(text, held[key].left_ms)}


def tells(words: list[str], held: dict[str, Held], key: str, chance: random.Random) -> bool:
    """Whether the reply to a command, or what it writes to another key, depends on the value of
    this key or on the time that it has left."""
    done, other = carried_out(words, held), carried_out(words, others(held, key, chance))
    moved = [{at: text for at, text in each.written.items() if at != key} for each in (done, other)]
    later = {each: Held(its.text, its.left_ms + 40_000) for each, its in held.items()}
    is_timed = carried_out(words, later).reply != done.reply
    return done.reply != other.reply or moved[0] != moved[1] or is_timed


@pytest.mark.parametrize("count", [150, *at_night(5000)])
@pytest.mark.parametrize("name", TRIED)
def test_a_reply_tells_of_a_key_that_may_be_read(name: str, count: int) -> None:
    """And a right to read is taken for no other key."""
    chance, function = random.Random(f"{name} {count}"), FUNCTIONS[name]
    found: dict[int, Counter[tuple[bool, bool]]] = defaultdict(Counter)
    successes = 0
    for _ in range(count):
        words = example(name, chance)
        if not function.fits(len(words)):
            continue
        kind = chance.choice(VALUES)
        held = {key: Held(chance.choice(kind), 5000) for key in KEYS if chance.random() < 0.6}
        successes += not carried_out(words, held).has_failed
        rights = list(function.rights_in(words))
        for place, (key, reads, _) in enumerate(rights):
            if key not in held or len({each for each, _, _ in rights}) < len(rights):
                continue
            told = tells(words, held, key, chance)
            assert reads or not told, f"{words} tells of {key}: {held}"
            found[place][reads, told] += 1
    assert successes, "no words were understood"
    if function.is_read:
        return
    for place, pairs in found.items():
        assert pairs[True, True] or pairs[True, False] < OFTEN, f"{name} needs not read key {place}"
