"""Rules that hold for each command of Redis on keys, with a value of each type.

A new command is walked, too: extensions/redis/tests/core/test_redis_work.py demands words for each.
"""

from __future__ import annotations

from types import ModuleType

import pytest

from raftline.redis.resp.functions import FUNCTIONS
from raftline.redis.resp.replies import NO_LIST
from raftline.redis.resp.types import hashes, sets, sorted_sets
from raftline.redis.resp.types.rows import BLOCKING
from raftline.redis.tests.core.command_words import VALUES, WORDS
from raftline.redis.tests.core.redis_model import Model
from raftline.state.commands.key_commands import execute
from raftline.state.store import Store
from raftline.wire.key_stat import KeyFacts

# These change the key in Redis, too, though it has the same value afterwards.
ALWAYS_WRITE = {
    "SET", "GETSET", "MSET", "APPEND", "SETRANGE", "INCRBY", "DECRBY", "INCRBYFLOAT", "COPY",
    "HSET", "HMSET", "HINCRBY", "HINCRBYFLOAT", "LSET", "LMOVE", "RPOPLPUSH",
    "SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE",
    "ZRANGESTORE", "ZUNIONSTORE", "ZINTERSTORE", "ZDIFFSTORE",
}  # fmt: skip
# Words that set what is there already, in addition to those of the walk over the work.
SAME = {
    "SET GETSET MSET APPEND": ["K 7", r"K \e"],
    "INCRBY DECRBY INCRBYFLOAT": ["K 0"],
    "HSET HMSET": ["K a 1", r"K a\x01 \x01"],
    "HINCRBY HINCRBYFLOAT": ["K a 0"],
    "LSET": ["K 0 a"],
    "SMOVE": ["K K a"],
    "ZADD": ["K 1 a", "K NX 5 a", "K XX 1 a", "K GT 0 a"],
    "ZINCRBY": ["K 0 a"],
    "RENAME RENAMENX": ["K K"],
}
SIZE = 60
LONG_WORDS = 200  # and counts of six digits: these are for a walk over the work


def _words_of(name: str) -> list[str]:
    tables = [*WORDS.items(), *SAME.items()]
    found = [words for names, some in tables if name in names.split() for words in some]
    return [words for words in found if len(words) < LONG_WORDS and "00000" not in words]


def _store_of(value: str) -> Store:
    """Return a store with three keys that have this value."""
    store = Store(is_at_floor=False)
    store.notes_events = True
    for store.number, key in enumerate("KJI", start=1):
        store[key] = value
    store.forget_events(3)
    store.number = 4
    return store


def _facts(store: Store) -> dict[str, KeyFacts | None]:
    return {key: store.facts(key) for key in store}


def _wrote(value: str, command: str) -> bool:
    """Whether a command on a value wrote, and left every key as it was."""
    store = _store_of(value)
    before, facts, leases = dict(store), _facts(store), set(store.leased)
    assert execute(store, f"redis 1764351306000 {command}") is not None
    if dict(store) != before or set(store.leased) != leases:
        return False
    return _facts(store) != facts or bool(store.take_events().events)


def test_command_that_changes_nothing_writes_nothing() -> None:
    """Watches hear no event, and a `WATCH` of the key aborts no transaction."""
    values = [value(SIZE) for value in VALUES.values()]
    found = {
        name
        for name in FUNCTIONS
        if any(_wrote(value, f"{name} {words}") for words in _words_of(name) for value in values)
    }
    assert found == ALWAYS_WRITE


def _outcomes() -> dict[tuple[str, str], tuple[str | None, dict[str, str]]]:
    found: dict[tuple[str, str], tuple[str | None, dict[str, str]]] = {}
    for name in FUNCTIONS:
        for words in _words_of(name):
            for kind, value in VALUES.items():
                store = _store_of(value(SIZE))
                reply = execute(store, f"redis 1764351306000 {name} {words}")
                found[kind, f"{name} {words}"] = reply, dict(store)
    return found


@pytest.mark.pure
@pytest.mark.parametrize("module", [hashes, sets, sorted_sets], ids=lambda each: each.__name__)
def test_few_words_have_the_effect_of_many(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command looks for few members one by one, and for many in a table."""
    monkeypatch.setattr(module, "_FEW", 0)
    in_a_table = _outcomes()
    monkeypatch.setattr(module, "_FEW", 1000)
    assert _outcomes() == in_a_table


WAITING = {
    "BLPOP": "c b a 0", "BRPOP": "c b a 0", "BLMPOP": "0 3 c b a LEFT COUNT 2",
    "BLMOVE": "a b LEFT RIGHT 0", "BRPOPLPUSH": "a b 0",
    "BZPOPMIN": "c b a 0", "BZPOPMAX": "c b a 0", "BZMPOP": "0 3 c b a MAX COUNT 2",
    "XREAD": "BLOCK 1000 STREAMS c b a 0 0 0",
}  # fmt: skip
FILLED = {
    "BZ": ("ZADD a 1 x 2 y", "ZADD b 3 z 4 x 5 y"),
    "XR": ("XADD a 1-1 x 1", "XADD b 2-2 y 2"),
}


def test_command_that_waits_takes_what_it_takes_in_a_transaction() -> None:
    """There it never waits. Of several keys, the first one with an element counts."""
    assert {*WAITING} == {row.name for row in BLOCKING}
    for name, words in WAITING.items():
        filled = FILLED.get(name[:2], ("RPUSH a x y", "RPUSH b z x y"))
        for keys in (filled, filled[:1], filled[1:]):
            alone, together = Model(), Model()
            for model in (alone, together):
                for key in keys:
                    model.ask(*key.split())
            replies = [ask(name, *words.split()) for ask in (alone.ask, together.in_multi)]
            # A move that waited in vain replies with no list, and one in a transaction with nil.
            one, other = [None if reply == NO_LIST else reply for reply in replies]
            assert one == other, (name, keys)
            assert dict(alone.store) == dict(together.store), (name, keys)
