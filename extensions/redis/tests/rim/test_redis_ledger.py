"""The bounds of one request of a Redis client: the bytes of its reply, of its entry, and of what
its connection keeps. A few bytes may ask for the same thing a thousand times."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest

from raftline.redis.harness.library_scripts import TEXTS
from raftline.redis.harness.redis_wire import RedisWire, framed, replies_in
from raftline.redis.resp.commands import COMMANDS
from raftline.redis.tests.rim.redis_connections import APP, Subscriber, Wire
from raftline.state.store import Store
from raftline_testing.doubles.wired_connection import PASSWORD
from raftline_testing.fuzzing.targets import known_users

BIG = "x" * 1_000_000
OVER = b"-ERR the reply has more than 8388608 bytes"


@pytest.fixture
def scene() -> Iterator[Subscriber]:
    scene = Subscriber()
    assert scene.command("AUTH", "bob", PASSWORD) == "+OK"
    yield scene
    scene.close()


# --- the ledger of a request ----------------------------------------------------------------------


class Measured(RedisWire):
    """A connection that notes how many bytes the node had to keep for a command."""

    def peak(self, data: bytes) -> tuple[int, bytes]:
        """Return the most memory while the node serves these bytes, and what it replies."""
        tracemalloc.start()
        try:
            sent = self.feed(data)
            return tracemalloc.get_traced_memory()[1], sent
        finally:
            tracemalloc.stop()


def in_multi(*commands: bytes) -> bytes:
    return framed("MULTI") + b"".join(commands) + framed("EXEC")


@pytest.mark.parametrize(
    "data",
    [
        framed("MGET", *["k"] * 400),
        framed("MGET", *["k"] * 4000),
        in_multi(*[framed("GET", "k")] * 400),
        in_multi(*[framed("GETRANGE", "k", "0", "-1")] * 400),
        in_multi(framed("SET", "new", "1"), framed("STRLEN", "k"), framed("MGET", *["k"] * 9)),
        in_multi(*[framed("GETSET", "k", "y" * 9)] * 2, framed("MGET", *["old"] * 9)),
    ],
)
def test_reply_over_the_ledger_is_refused_before_a_write(data: bytes) -> None:
    """A few bytes may ask for the same value very often: what the reply would have is counted
    before it is encoded, and before anything is written."""
    store = Store(is_at_floor=False)
    wire = Measured(store)
    wire.feed(framed("SET", "k", BIG) + framed("SET", "old", BIG))
    peak, sent = wire.peak(data)
    assert replies_in(sent)[-1].startswith(OVER)
    assert peak < 24 << 20
    assert dict(store) == {"k": BIG, "old": BIG}
    assert wire.feed(framed("MGET", "k", "k")).startswith(b"*2\r\n$1000000\r\n")


def test_reply_of_an_entry_is_counted_before_it_is_made() -> None:
    """It would have 200 MB, on each node that applies the entry."""
    store = Store(is_at_floor=False)
    wire = Measured(store)
    wire.feed(framed("SET", "k", BIG))
    peak, sent = wire.peak(in_multi(framed("SET", "new", "1"), framed("MGET", *["k"] * 200)))
    assert OVER in sent
    assert peak < 24 << 20
    assert list(store) == ["k"]


def test_drawn_elements_are_counted_before_they_are_made() -> None:
    """36 bytes ask for millions of elements of a set that has two."""
    store = Store(is_at_floor=False)
    wire = Measured(store)
    wire.feed(framed("SADD", "s", "a", "b"))
    draw = framed("SRANDMEMBER", "s", "-20000000")
    for data in (draw, in_multi(framed("SET", "new", "1"), draw)):
        peak, sent = wire.peak(data)
        assert b"-ERR the commands make more than" in sent
        assert peak < 4 << 20
    assert list(store) == ["s"]


def test_changes_over_the_ledger_are_refused_before_the_write() -> None:
    """Each COPY has 30 bytes, and its part of the entry a megabyte, or four."""
    store = Store(is_at_floor=False)
    Measured(store).feed(framed("SET", "k", BIG))
    copies = [framed("COPY", "k", f"k{number}") for number in range(30)]
    peak, sent = Measured(store).peak(in_multi(*copies))
    assert b"-ERR the changes have more than 4198656 bytes" in sent
    assert peak < 24 << 20
    assert list(store) == ["k"]
    assert (
        replies_in(Measured(store).feed(in_multi(*copies[:3])))[-1] == b"*3\r\n:1\r\n:1\r\n:1\r\n"
    )


def test_work_over_the_ledger_is_refused() -> None:
    """A thousand commands of 30 bytes on a value of a megabyte are as many megabytes to copy."""
    store = Store(is_at_floor=False)
    wire = Measured(store)
    wire.feed(framed("SET", "k", BIG))
    sent = wire.feed(
        in_multi(framed("APPEND", "k", "z"), *[framed("SETRANGE", "k", "5", "y")] * 1000)
    )
    assert b"-ERR the commands make more than 67108864 bytes" in sent
    assert store["k"] == BIG


def test_a_script_that_sets_many_keys_is_within_the_ledger() -> None:
    """One value is named, and each key would have it."""
    store = Store(is_at_floor=False)
    acquire = TEXTS["locks-acquire"][0]
    for count, problem in ((30, b"the changes have more than"), (100, b"the commands make more")):
        keys = [f"k{number}" for number in range(count)]
        sent = Measured(store).feed(framed("EVAL", acquire, str(count), *keys, BIG, "60000"))
        assert problem in sent
        assert not store.held


def test_replies_about_commands_are_encoded_once() -> None:
    """A thousand in one EXEC are parts of one text, which is in the ledger like any other."""
    wire = Measured(Store(is_at_floor=False))
    alone = wire.feed(framed("COMMAND"))
    assert alone == wire.feed(framed("COMMAND", "INFO", *COMMANDS))
    some = wire.feed(in_multi(*[framed("COMMAND")] * 9))
    assert some.endswith(b"*9\r\n" + 9 * alone)
    wire.feed(framed("SET", "k", BIG))
    peak, sent = wire.peak(in_multi(framed("MGET", *"kkkk"), *[framed("COMMAND")] * 1000))
    assert peak < 40 << 20
    assert OVER in sent, "some are refused: they are in the reply, each by itself"
    assert 0 < sent.count(alone) < 1000


def test_long_reply_waits_for_room_even_if_nothing_is_read() -> None:
    """Three connections that describe all commands must not have their replies at once."""
    wire = Wire(Store(is_at_floor=False))
    wire.feed(in_multi(*[framed("COMMAND")] * 100))
    assert wire.reserved


def test_patterns_of_a_command_are_bounded() -> None:
    wire = Measured(Store(is_at_floor=False))
    assert wire.feed(framed("CONFIG", "GET", *["*save"] * 128)) == b"*2\r\n$4\r\nsave\r\n$0\r\n\r\n"
    refused = wire.feed(framed("CONFIG", "GET", *["*save"] * 129))
    assert refused == b"-ERR a command has at most 128 patterns\r\n"


# --- subscriptions --------------------------------------------------------------------------------


def test_channels_count_as_watches_of_their_user(scene: Subscriber) -> None:
    """They are given back by the end of the subscription, and by that of the connection."""
    scene.watchers.watches_max = 8
    begun = [scene.subscribe(f"app/{number}", "SUBSCRIBE") for number in range(7)]
    assert begun[:6] == [""] * 6
    assert "this server serves at most 6 watches of one user" in begun[6]
    assert scene.subscribe("app/1", "SUBSCRIBE") == "", "it is there already"
    scene.subscribe("app/1", "UNSUBSCRIBE")
    assert scene.subscribe("app/[a-z]*", "PSUBSCRIBE") == ""
    assert scene.subscribe(APP) != ""
    assert scene.watchers.weight == 6
    scene.close()
    assert scene.watchers.weight == 0


def test_pattern_counts_as_the_memory_that_it_takes(scene: Subscriber) -> None:
    scene.watchers.watches_max = 100
    many = "".join([f"[{chr(first)}-~]" for first in range(94, 126)])
    assert scene.subscribe(APP + many) == ""
    assert scene.watchers.weight == 2
    scene.subscribe(APP + many, "PUNSUBSCRIBE")
    assert scene.watchers.weight == 0


@pytest.mark.parametrize("verb", ["SUBSCRIBE", "PSUBSCRIBE"])
def test_name_of_a_channel_is_bounded(verb: str, scene: Subscriber) -> None:
    longest = {"SUBSCRIBE": len("__keyspace@0__:") + 1024, "PSUBSCRIBE": 1024}[verb]
    refused = scene.command(verb, "fine", "x" * (longest + 1))
    assert refused.endswith(f" has at most {longest} bytes")
    assert scene.command("PING") == "+PONG", "none of them has begun"
    longest_name = "__keyspace@0__:app/".ljust(longest, "x")
    assert scene.subscribe(longest_name, verb) == ""


# --- who waits for an element ---------------------------------------------------------------------


@pytest.mark.parametrize("command", ["BLPOP k 0", "BLMPOP 0 1 k LEFT", "XREAD BLOCK 0 STREAMS k 0"])
def test_a_waiter_keeps_no_room_for_replies(command: str) -> None:
    """It has read that its key is absent, and may wait for ever."""
    wire = Wire(Store(is_at_floor=False))
    wire.host.watchers.open = lambda sink, asked: [[] for _ in asked]
    assert wire.feed(framed(*command.split())) == b""
    assert wire.reserved == 1, "it has read"
    assert (wire.rooms_amid[-1], wire.host.reply_room.used) == (0, 0)


def test_who_may_not_take_an_element_does_not_wait() -> None:
    """bob may read the key, and an element is taken by a write."""
    wire = Wire(Store(is_at_floor=False), known_users(), "bob")
    assert wire.feed(framed("BLPOP", "app/k", "0")).startswith(b"-NOPERM ")


def test_who_may_not_read_a_stream_does_not_wait_for_it() -> None:
    wire = Wire(Store(is_at_floor=False), known_users(), "bob")
    wire.host.watchers.open = lambda sink, asked: [[] for _ in asked]
    refused = wire.feed(framed("XREAD", "BLOCK", "0", "STREAMS", "web/k", "0"))
    assert refused.startswith(b"-NOPERM ")
    assert wire.feed(framed("XREAD", "BLOCK", "0", "STREAMS", "app/k", "0")) == b""


def test_a_waiter_without_a_watch_is_refused() -> None:
    wire = Wire(Store(is_at_floor=False))
    assert b"serves at most 0 watches" in wire.feed(framed("BLPOP", "k", "0"))
    assert b"blocked_clients:0\r\n" in wire.feed(framed("INFO", "clients"))
