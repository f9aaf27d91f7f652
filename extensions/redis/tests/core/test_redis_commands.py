"""The commands of Redis, carried out on a store in memory: each by its line and in an entry."""

from __future__ import annotations

from typing import Any

import pytest

from raftline.redis.resp.commands import COMMANDS
from raftline.redis.resp.keys import Pattern
from raftline.redis.resp.limits import REDIS_ARGUMENTS, REDIS_QUEUED
from raftline.redis.resp.replies import (
    NO_LIST,
    Failure,
    Pairs,
    Push,
    Several,
    Value,
    format_reply,
)
from raftline.redis.resp.scripts import NO_SCRIPT
from raftline.redis.tests.core.redis_model import NOW_MS, Model
from raftline.state.commands.lease_commands import ms_of
from raftline.wire.operands.operands import Limits
from raftline_testing.runner.at_night import in_the_rest, one_each

pytestmark = pytest.mark.pure

OWN_LINE = (
    "id=7 addr=?:0 laddr=?:0 name= db=0 sub=0 psub=0 multi=-1 watch=0"
    " age=0 idle=0 qbuf=0 qbuf-free=0 argv-mem=0 obl=0 oll=0 omem=0 tot-mem=0 resp=2\n"
)
# The commands before, the command, and its reply.
ROWS: list[tuple[str, str, Value]] = [
    ("", "GET a", None),
    ("SET a 1", "GET a", "1"),
    ("SET a 1", "SET a 2 NX", None),
    ("", "SET a 2 NX", "OK"),
    ("", "SET a 2 XX", None),
    ("SET a 1", "SET a 2 XX GET", "1"),
    ("SET a 1", "SET a 2 GET", "1"),
    ("", "SET a 2 NX GET", None),
    ("SET a 1", "SET a 2 NX GET", "1"),
    ("SET a 1", "SET a 2 IFEQ 1", "OK"),
    ("SET a 1", "SET a 2 IFEQ 2", None),
    ("", "SET a 2 IFEQ 2", None),
    ("", "SET a 2 IFNE 2", "OK"),
    ("SET a 2", "SET a 3 IFNE 2", None),
    ("SET a 2", "SET a 3 NX XX", Failure("ERR syntax error")),
    ("", "SET a 3 EX 10 PX 10", Failure("ERR syntax error")),
    ("", "SCRIPT FLUSH ASYNC", "OK"),
    ("", "SCRIPT FLUSH x", Failure("ERR SCRIPT FLUSH only support SYNC|ASYNC option")),
    ("", "SET a 3 EX", Failure("ERR syntax error")),
    ("", "SET a 3 EX x", Failure("ERR value is not an integer or out of range")),
    ("", "SET a 3 EX 0", Failure("ERR invalid expire time in 'set' command")),
    ("", f"SET a 3 EX {1 << 62}", Failure("ERR invalid expire time in 'set' command")),
    ("SET a 3 EX 10", "TTL a", 10),
    ("SET a 3 PXAT 1000010000", "TTL a", 10),
    ("SET a 3 EX 10", "PEXPIRETIME a", NOW_MS + 10_000),
    ("SET a 3 EX 10;SET a 4", "TTL a", -1),
    ("SET a 3 EX 10;SET a 4 KEEPTTL", "TTL a", 10),
    ("SET a 3 EX 10;APPEND a 4", "TTL a", 10),
    ("SET a 3 EX 10;INCRBYFLOAT a 4", "TTL a", 10),
    ("SET a 1", "GETSET a 2", "1"),
    ("SET a 1", "GETDEL a", "1"),
    ("SET a 1;GETDEL a", "EXISTS a", 0),
    ("SET a 1", "GETEX a EX 10", "1"),
    ("SET a 1;GETEX a EX 10", "TTL a", 10),
    ("SET a 1 EX 10;GETEX a PERSIST", "TTL a", -1),
    ("SET a 1;GETEX a EXAT 1", "EXISTS a", 0),
    ("", "GETEX a KEEPTTL", Failure("ERR syntax error")),
    ("", "SETNX a 1", 1),
    ("SET a 1", "SETNX a 1", 0),
    ("SETEX a 10 v", "GET a", "v"),
    ("", "SETEX a -1 v", Failure("ERR invalid expire time in 'setex' command")),
    ("PSETEX a 10000 v", "TTL a", 10),
    ("PSETEX a 1 v", "PTTL a", 1),
    ("SET a v PX 1500;EXPIRE a 3 GT", "PTTL a", 3000),
    ("SET a v;PEXPIREAT a 1000001234", "PTTL a", 1234),
    ("SET a v PX 1499", "TTL a", 1),
    ("SET a 1;SET b 2", "MGET a none b", ["1", None, "2"]),
    ("MSET a 1 b 2", "MGET a b", ["1", "2"]),
    ("", "MSET a 1 b", Failure("ERR wrong number of arguments for 'mset' command")),
    ("SET a 1", "MSETNX b 1 a 2", 0),
    ("", "MSETNX b 1 a 2", 1),
    ("SET a 12", "APPEND a 34", 4),
    ("SET a 1234", "STRLEN a", 4),
    ("", "STRLEN a", 0),
    ("SET a 01234567", "GETRANGE a -3 -1", "567"),
    ("SET a 01234567", "GETRANGE a 2 99", "234567"),
    ("SET a 01234567", "GETRANGE a 5 2", ""),
    ("", "GETRANGE a 0 -1", ""),
    ("SET a 0123", "SETRANGE a 6 xy", 8),
    ("SET a 0123;SETRANGE a 6 xy", "GET a", "0123\0\0xy"),
    ("", "SETRANGE a -1 x", Failure("ERR offset is out of range")),
    ("", f"SETRANGE a {1 << 40} x",
     Failure("ERR string exceeds maximum allowed size (proto-max-bulk-len)")),
    ("", "INCR a", 1),
    ("SET a 7", "DECRBY a 9", -2),
    ("SET a x", "INCR a", Failure("ERR value is not an integer or out of range")),
    ("SET a x", "LRANGE a 2 x", Failure("ERR value is not an integer or out of range")),
    ("", "INCRBY a 1.5", Failure("ERR value is not an integer or out of range")),
    (f"SET a {(1 << 63) - 1}", "INCR a", Failure("ERR increment or decrement would overflow")),
    ("", f"DECRBY a {-(1 << 63)}", Failure("ERR decrement would overflow")),
    ("SET a 3.0", "INCRBYFLOAT a 1.1", "4.1"),
    ("SET a 5.0e3", "INCRBYFLOAT a 2.0e2", "5200"),
    ("SET a 1", "INCRBYFLOAT a -1", "0"),
    ("SET a x", "INCRBYFLOAT a 1", Failure("ERR value is not a valid float")),
    ("SET a 1." + 5118 * "0", "INCRBYFLOAT a 1", Failure("ERR value is not a valid float")),
    ("SET a 1." + 5117 * "0", "INCRBYFLOAT a 1", "2"),
    ("", "INCRBYFLOAT a inf", Failure("ERR increment would produce NaN or Infinity")),
    ("SET a 1;SET b 2", "DEL a b c", 2),
    ("SET a 1", "UNLINK a", 1),
    ("SET a 1", "DELEX a IFEQ 2", 0),
    ("SET a 1", "DELEX a IFEQ 1", 1),
    ("", "DELEX a IFNE 1", 0),
    ("SET a 1", "DELEX a IFNE 2", 1),
    ("SET a 1", "DELEX a", 1),
    ("SET a 1", "EXISTS a a b", 2),
    ("SET a 1", "TYPE a", "string"),
    ("", "TYPE a", "none"),
    ("SET a 1;RENAME a b", "MGET a b", [None, "1"]),
    ("SET a 1 EX 10;RENAME a b", "TTL b", 10),
    ("", "RENAME a b", Failure("ERR no such key")),
    ("SET a 1", "RENAME a a", "OK"),
    ("SET a 1;SET b 2", "RENAMENX a b", 0),
    ("SET a 1", "RENAMENX a b", 1),
    ("SET a 1;COPY a b", "MGET a b", ["1", "1"]),
    ("SET a 1;SET b 2", "COPY a b", 0),
    ("SET a 1;SET b 2", "COPY a b REPLACE", 1),
    ("SET a 1", "COPY a b DB x", Failure("ERR value is not an integer or out of range")),
    ("SET a 1", "COPY a b DB 1", Failure("ERR DB index is out of range")),
    ("SET a 1", "COPY a a", Failure("ERR source and destination objects are the same")),
    ("", "EXPIRE a 10", 0),
    ("SET a 1", "EXPIRE a 10", 1),
    ("SET a 1", "EXPIRE a 10 XX", 0),
    ("SET a 1", "EXPIRE a 10 NX", 1),
    ("SET a 1 EX 10", "EXPIRE a 5 GT", 0),
    ("SET a 1 EX 10", "EXPIRE a 5 LT", 1),
    ("SET a 1", "EXPIRE a 5 GT", 0),
    ("SET a 1", "EXPIRE a 5 LT", 1),
    ("SET a 1", "EXPIRE a 5 FOO", Failure("ERR Unsupported option FOO")),
    ("SET a 1", "EXPIRE a 5 GT LT",
     Failure("ERR GT and LT options at the same time are not compatible")),
    ("SET a 1", "EXPIRE a 5 NX XX",
     Failure("ERR NX and XX, GT or LT options at the same time are not compatible")),
    ("SET a 1", f"EXPIRE a {(1 << 63) - 1}",
     Failure("ERR invalid expire time in 'expire' command")),
    ("SET a 1;EXPIRE a -1", "EXISTS a", 0),
    ("SET a 1;PEXPIREAT a 1000010000", "TTL a", 10),
    ("SET a 1;EXPIREAT a 1", "EXISTS a", 0),
    ("SET a 1", "PERSIST a", 0),
    ("SET a 1 EX 10", "PERSIST a", 1),
    ("", "TTL a", -2),
    ("SET a 1", "PTTL a", -1),
    ("SET a 1 EX 10", "PTTL a", 10_000),
    ("SET a 1;SET b 2", "KEYS [^b]", ["a"]),
    ("SET a 1;SET b 2", "SCAN 0", ["0", ["a", "b"]]),
    ("SET a 1;SET b 2", "SCAN 0 COUNT 1", ["1", ["a"]]),
    ("SET a 1;SET b 2;SCAN 0 COUNT 1", "SCAN 1 COUNT 1", ["0", ["b"]]),
    ("SET a 1;SET b 2", "SCAN 0 MATCH b* COUNT 100", ["0", ["b"]]),
    ("SET a 1", "SCAN 0 TYPE hash", ["0", []]),
    ("", "SCAN 0 COUNT 0", Failure("ERR syntax error")),
    ("", "SCAN x", Failure("ERR invalid cursor")),
    ("SET a 1;SET b 2", "DBSIZE", 2),
    ("SET a 1;SET b 2", "RANDOMKEY", "b"),
    ("", "RANDOMKEY", None),
    ("SET a 1;SET b 2;FLUSHALL", "DBSIZE", 0),
    ("", "FLUSHDB SOON", Failure("ERR syntax error")),
    ("", "SELECT 0", "OK"),
    ("", "SELECT 1", Failure("ERR DB index is out of range")),
    ("", "PING a", "a"),
    ("", "CLIENT ID", 7),
    ("CLIENT SETNAME me", "CLIENT GETNAME", "me"),
    ("CLIENT SETNAME " + "x" * 257, "CLIENT GETNAME", None),
    ("", "CLIENT SETNAME " + "x" * 257, Failure("ERR Client names have at most 256 bytes.")),
    ("", "CLIENT SETINFO lib-ver " + "x" * 257,
     Failure("ERR Client names have at most 256 bytes.")),
    ("", "HELLO 3 SETNAME " + "x" * 257, Failure("ERR Client names have at most 256 bytes.")),
    ("", "CLIENT LIST ID 7 8", OWN_LINE),
    ("", "CLIENT LIST ID 8", ""),
    ("", "CLIENT LIST ID x", Failure("ERR Invalid client ID")),
    ("", "CLIENT LIST TYPE pubsub", ""),
    ("", "CLIENT LIST TYPE normal", OWN_LINE),
    ("", "CLIENT LIST TYPE cat", Failure("ERR Unknown client type 'cat'")),
    ("", "CLIENT LIST FOO", Failure("ERR syntax error")),
    ("", "CLIENT FOO", Failure("ERR unknown subcommand 'FOO'. Try CLIENT HELP.")),
    ("", "CLIENT SETNAME", Failure("ERR wrong number of arguments for 'client|setname' command")),
    ("", "CONFIG GET append*",
     Pairs("map", [("appendfsync", "always"), ("appendonly", "yes")])),
    ("", "CONFIG SET notify-keyspace-events KEA", "OK"),
    ("", "CONFIG SET appendonly yes", "OK"),
    ("", "CONFIG SET appendonly no",
     Failure("ERR CONFIG SET failed - can't set immutable config 'appendonly'")),
    ("MULTI;SET a 1;RESET", "GET a", None),
    ("", "SUBSCRIBE news", Several([Push(["subscribe", "news", 1])])),
    ("SUBSCRIBE news", "UNSUBSCRIBE", Several([Push(["unsubscribe", "news", 0])])),
    ("", "UNSUBSCRIBE", Several([Push(["unsubscribe", None, 0])])),
    (
        "SUBSCRIBE a b c",
        "UNSUBSCRIBE c a",
        Several([Push(["unsubscribe", "c", 2]), Push(["unsubscribe", "a", 1])]),
    ),
    ("PSUBSCRIBE n*;PSUBSCRIBE n*", "PING", ["pong", ""]),
    ("", "PUBLISH news hello", 0),
    ("HELLO 3;SUBSCRIBE news;SUBSCRIBE b", "PUBLISH news hello", 1),
    ("HELLO 3;SUBSCRIBE news b", "PUBSUB CHANNELS", ["news", "b"]),
    ("HELLO 3;SUBSCRIBE news b;UNSUBSCRIBE b", "PUBSUB CHANNELS n*", ["news"]),
    ("HELLO 3;SUBSCRIBE news b", "PUBSUB NUMSUB news c", ["news", 1, "c", 0]),
    ("", "PUBSUB NUMSUB", []),
    ("", "PUBSUB NUMPAT", 0),
    ("", "PUBSUB SHARDCHANNELS",
     Failure("ERR unknown subcommand 'SHARDCHANNELS'. Try PUBSUB HELP.")),
    ("", "COMMAND GETKEYS XREAD COUNT 1 STREAMS a b 0 0", ["a", "b"]),
    ("", "COMMAND GETKEYS ZUNIONSTORE a 2 b c WEIGHTS 1 2", ["a", "b", "c"]),
    ("", "COMMAND GETKEYS LMPOP x a LEFT", Failure("ERR The command has no key arguments")),
    ("", "COMMAND GETKEYS PUBLISH a b", Failure("ERR The command has no key arguments")),
    ("", "COMMAND INFO nope", [None]),
    ("", "COMMAND GETKEYS MSET a 1 b 2", ["a", "b"]),
    ("", "COMMAND GETKEYS EVAL text 2 a b c", ["a", "b"]),
    ("", "COMMAND LIST FILTERBY PATTERN MS*", ["mset", "msetnx"]),
    ("", "COMMAND LIST FILTERBY MODULE search", []),
    ("", "COMMAND LIST FILTERBY ACLCAT list", Failure("ERR syntax error")),
    ("", "COMMAND LIST FILTERBY", Failure("ERR syntax error")),
    ("", "CLUSTER KEYSLOT 123456789", 12739),
    ("", "EVAL return 1 a b", None),
    ("", "EVAL x 3 a b", Failure("ERR Number of keys can't be greater than number of args")),
    ("", "EVAL x -1 a b", Failure("ERR Number of keys can't be negative")),
    ("", "EVAL x y a b", Failure("ERR value is not an integer or out of range")),
    ("", "EVALSHA x 0", NO_SCRIPT),
    ("", "EVALSHA x y", Failure("ERR value is not an integer or out of range")),
    ("", f"EVALSHA {'0' * 40} y", Failure("ERR value is not an integer or out of range")),
    ("", f"EVALSHA {'0' * 40} 0", NO_SCRIPT),
    ("", f"SCRIPT EXISTS {'0' * 40} x", [0, 0]),
    ("", "SCRIPT LOAD return", "63143b6f8007b98c53ca2149822777b3566f9241"),
    ("", "EXEC", Failure("ERR EXEC without MULTI")),
    ("", "DISCARD", Failure("ERR DISCARD without MULTI")),
    ("MULTI", "MULTI", Failure("ERR MULTI calls can not be nested")),
    ("MULTI", "WATCH a", Failure("ERR WATCH inside MULTI is not allowed")),
    ("MULTI", "FLUSHALL", Failure("ERR FLUSHALL is not supported after MULTI")),
    ("SET a 1;MULTI;FLUSHDB;DISCARD", "EXISTS a", 1),
    ("MULTI;NOPE", "EXEC",
     Failure("EXECABORT Transaction discarded because of previous errors.")),
    ("MULTI;GET", "EXEC",
     Failure("EXECABORT Transaction discarded because of previous errors.")),
    ("MULTI;KEYS *", "EXEC",
     Failure("EXECABORT Transaction discarded because of previous errors.")),
    ("MULTI", "EXEC", []),
    ("MULTI;SET a 1;INCR a;APPEND a 0;GET a;DEL a;DEL a", "EXEC", ["OK", 2, 2, "20", 1, 0]),
    ("MULTI;SET a x;INCR a;GET a", "EXEC",
     ["OK", Failure("ERR value is not an integer or out of range"), "x"]),
    ("MULTI;SET a 1 EX 10;TTL a;RENAME a b;PING", "EXEC", ["OK", 10, "OK", "PONG"]),
    ("MULTI;SET a 1;DISCARD", "GET a", None),
    ("SET a 1;WATCH a;SET a 2;MULTI;SET a 3", "EXEC", NO_LIST),
    ("SET a 1;WATCH a;SET a 2;UNWATCH;MULTI;SET a 3", "EXEC", ["OK"]),
    ("WATCH a;SET a 2;MULTI;STRLEN a", "EXEC", NO_LIST),
    ("WATCH a;SET b 2;MULTI;SET a 3", "EXEC", ["OK"]),
]  # fmt: skip


def is_of_an_entry(before: str, command: str, reply: Value) -> bool:
    """Whether a command can be part of an entry: it is not refused before."""
    is_early = isinstance(reply, Failure) and "number of arguments" in reply and "|" not in reply
    row = COMMANDS[command.split()[0]]
    return row.function is not None and "MULTI" not in before and not is_early


# One of each command with a reply of each type; the others at night.
FEWER = one_each(
    (row for row in ROWS if is_of_an_entry(*row)),
    lambda row: (row[1].split()[0], type(row[2]), bool(row[0])),
)


@pytest.mark.parametrize(("before", "command", "reply"), ROWS, ids=lambda part: str(part)[:60])
def test_a_command_has_the_reply_of_redis(before: str, command: str, reply: Value) -> None:
    model = Model()
    for each in filter(None, before.split(";")):
        model.ask(*each.split())
    got = model.ask(*command.split())
    assert (type(got), got) == (type(got) if isinstance(got, str) else type(reply), reply)


@pytest.mark.parametrize(("before", "command", "reply"), FEWER, ids=lambda part: str(part)[:60])
def test_beside_others_it_has_the_same_reply(before: str, command: str, reply: Value) -> None:
    model = Model()
    for each in filter(None, before.split(";")):
        words = each.split()
        if COMMANDS[words[0]].function is None:
            model.ask(*words)
        else:
            model.in_multi(*words)
    assert model.in_multi(*command.split()) == reply


@pytest.mark.parametrize(("before", "command", "reply"), FEWER, ids=lambda part: str(part)[:60])
def test_in_a_transaction_it_has_the_same_reply(before: str, command: str, reply: Value) -> None:
    model = Model()
    for each in filter(None, before.split(";")):
        model.ask(*each.split())
    model.ask("MULTI")
    assert model.ask(*command.split()) == "QUEUED"
    assert model.ask("EXEC") == [reply]


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("INCRBYFLOAT n 1.5", "redis 1000000000 INCRBYFLOAT n 1.5"),
        ("set a b nx", "redis 1000000000 SET a b nx"),
        ("DEL a b", "redis 1000000000 DEL a b"),
        ("MSET a 1 b 2", "redis 1000000000 MSET a 1 b 2"),
        ("PUBLISH news a;b", "redis 1000000000 PUBLISH news a;b"),
        ("SET a 1", "set a 1"),
        ("INCRBY a 3", "incr a 3"),
        ("SET a 1 PX 1500", "setex a 1.5 1"),
    ],
)
def test_a_write_is_one_line(command: str, line: str) -> None:
    model = Model()
    model.ask(*command.split())
    assert model.lines == [line]


def test_a_transaction_is_one_entry() -> None:
    model = Model()
    for words in (
        ("MULTI",), ("INCR", "n"), ("EXPIRE", "n", 60), ("SET", "e", "", "PX", 1500),
        ("APPEND", "s", "a b;"), ("SET", ";", "then"), ("EXEC",),
    ):  # fmt: skip
        model.ask(*words)
    assert model.lines == [
        r"redis 1000000000 INCR n ; EXPIRE n 60 ; SET e \e PX 1500 ; APPEND s a\sb;"
        r" ; SET \x3b \x74hen"
    ]


@pytest.mark.parametrize("before", ["", "SET a 1", "SET a 1 EX 10"])
@pytest.mark.parametrize("command", ["EXPIRE a 5 GT", "RENAME a b", "COPY a b"])
def test_only_the_time_of_a_key_is_read_before_an_entry(before: str, command: str) -> None:
    model = Model()
    if before:
        model.ask(*before.split())
    model.lines.clear()
    model.ask(*command.split())
    verbs = [line.split()[0] for line in model.lines]
    assert [verb for verb in verbs if verb != "stat"] == ["ttl"] * ("EX" in before) + ["redis"]


def test_a_transaction_of_reads_is_not_an_entry() -> None:
    model = Model()
    model.ask("MSET", "a", 1, "b", 2)
    model.ask("WATCH", "a")
    model.lines.clear()
    for words in (("MULTI",), ("GET", "a"), ("MGET", "a", "b"), ("TTL", "b")):
        model.ask(*words)
    assert model.ask("EXEC") == ["1", ["1", "2"], -1]
    assert {line.split()[0] for line in model.lines} == {"stat", "get"}


def test_a_wrong_command_of_a_transaction_is_in_no_entry() -> None:
    model = Model()
    for words in (("MULTI",), ("SET", "a", "1", "EX", "x"), ("INCR", "a"), ("EVAL", "x", 1)):
        model.ask(*words)
    replies = model.ask("EXEC")
    assert isinstance(replies, list)
    assert [type(reply) for reply in replies] == [Failure, int, Failure]
    assert model.lines == ["redis 1000000000 INCR a"]


@pytest.mark.parametrize(
    ("before", "meanwhile", "command", "reply", "left_ms"),
    [
        ("SET a 1", "EXPIRE a 100", "EXPIRE a 10 NX", 0, 100_000),
        ("SET a 1 EX 10", "PERSIST a", "EXPIRE a 20 XX", 0, 0),
        ("SET a 1 EX 10", "EXPIRE a 100", "PEXPIRE a 20000 GT", 0, 100_000),
        ("SET a 1 EX 100", "EXPIRE a 5", "EXPIRE a 20 LT", 0, 5000),
        ("SET a 1 EX 10", "EXPIRE a 100", "SETRANGE a 1 x", 2, 100_000),
        ("SET a 1 EX 10", "PERSIST a", "SET a 2 KEEPTTL", "OK", 0),
        ("SET b 1 EX 10", "EXPIRE b 100", "RENAME b a", "OK", 100_000),
    ],
)
def test_a_time_that_changes_meanwhile_counts_as_it_is(
    before: str, meanwhile: str, command: str, reply: Value, left_ms: int
) -> None:
    """It was read before the entry."""
    model = Model()
    model.ask(*before.split())
    other = Model(model.store)
    model.before_write = lambda: other.ask(*meanwhile.split())
    assert model.ask(*command.split()) == reply
    assert ms_of(model.store, model.store.lease_of("a")) == left_ms


@pytest.mark.parametrize("change", ["EXPIRE a 20", "PERSIST a", "SET a 1 EX 10", "DEL a"])
@pytest.mark.parametrize("queued", ["SET b 1", "STRLEN b"])
def test_a_watch_also_notices_a_change_of_the_time(change: str, queued: str) -> None:
    model = Model()
    for command in ("SET a 1 EX 10", "WATCH a", "MULTI", queued):
        model.ask(*command.split())
    other = Model(model.store)
    other.ask(*change.split())
    assert model.ask("EXEC") is NO_LIST
    for command in ("WATCH a none", "MULTI", queued):
        model.ask(*command.split())
    assert isinstance(model.ask("EXEC"), list)


@pytest.mark.parametrize("queued", ["SET b 1", "SETRANGE b 0 1", "GET b", "STRLEN b"])
@pytest.mark.parametrize(
    ("changes", "is_noticed"),
    [
        ("", False), ("SET c 1;DEL c", False), ("SET a 1;DEL a", True), ("SET a 1;GETDEL a", True),
        ("SET a 1;PEXPIRE a -1", True), ("MSET a 1 c 2;FLUSHALL", True), ("SET a 1", True),
    ],
)  # fmt: skip
def test_a_watch_notices_a_key_that_was_set_and_removed(
    changes: str, is_noticed: bool, queued: str
) -> None:
    """It was absent before and after, and what was read meanwhile may be out of date."""
    model, other = Model(), Model()
    other.store = model.store
    model.ask("MSET", "a", 1, "b", 2)
    model.ask("DEL", "a")
    model.ask("WATCH", "a")
    for each in filter(None, changes.split(";")):
        other.ask(*each.split())
    model.ask("MULTI")
    model.ask(*queued.split())
    assert (model.ask("EXEC") is NO_LIST) == is_noticed


def test_keys_and_values_may_have_any_bytes_but_a_key_has_one() -> None:
    model = Model()
    key, value = "a b\n\udcff", "\x00;\udcc3"
    for write in (("SET", key, value), ("SET", key, value, "NX"), ("MSET", key, value)):
        model.ask("DEL", key)
        assert model.ask(*write) == "OK"
        assert model.ask("GET", key) == value
    assert model.in_multi("GETRANGE", key, 0, 0) == "\x00"
    assert model.ask("SET", "", "1") == "ERR the empty key is not supported"


def test_a_long_key_or_value_is_refused() -> None:
    model, limits = Model(), Limits()
    assert "the limit is" in str(model.ask("GET", "k" * (limits.key_bytes + 1)))
    assert "the limit is" in str(model.ask("SET", "k", "v" * (limits.value_bytes + 1)))


@pytest.mark.slow
def test_a_command_takes_as_many_keys_as_arguments() -> None:
    model, many = Model(), [f"k{number}" for number in range(REDIS_ARGUMENTS - 1)]
    pairs = [word for key in many[: len(many) // 2] for word in (key, "1")]
    assert model.ask("MSET", *pairs) == "OK"
    assert model.ask("EXISTS", *many) == len(many) // 2
    assert model.ask("DEL", *many) == len(many) // 2


def test_a_transaction_names_as_many_keys_as_a_command() -> None:
    model, many = Model(), list(map(str, range(REDIS_ARGUMENTS - 1)))
    for words in (("MULTI",), ("DEL", *many), ("MGET", *many)):
        model.ask(*words)
    assert model.ask("EXEC") == [0, [None] * len(many)]
    model.ask("MULTI")
    model.ask("MGET", *many)
    model.ask("DEL", "a", "b")
    bound = f"names {REDIS_ARGUMENTS + 1} keys, and at most {REDIS_ARGUMENTS}"
    assert bound in str(model.ask("EXEC"))


@pytest.mark.parametrize("count", [200, in_the_rest(5000)])
def test_a_pipeline_of_many_commands_is_one_transaction(count: int) -> None:
    """Clients send a pipeline as `MULTI`; the cache of Django sets many keys and their times so."""
    model = Model()
    for words in (("SET", "1"), ("GET",), ("INCR",), ("EXPIRE", 60), ("TTL",), ("DEL",)):
        model.ask("MULTI")
        for number in range(count):
            assert model.ask(words[0], f"k{number}", *words[1:]) == "QUEUED"
        replies = model.ask("EXEC")
        assert isinstance(replies, list)
        assert replies == [{"SET": "OK", "GET": "1", "INCR": 2, "TTL": 60}.get(words[0], 1)] * count


@pytest.mark.parametrize(
    ("glob", "key", "fits"),
    [
        ("*", "", True), ("a*c", "abbc", True), ("a*c", "acb", False), ("a**c", "ac", True),
        ("h?llo", "hello", True), ("h?llo", "hllo", False), ("h[ae]llo", "hallo", True),
        ("h[^e]llo", "hello", False), ("h[a-c]llo", "hbllo", True), ("h[c-a]llo", "hbllo", True),
        (r"a\*", "a*", True), (r"a\*", "ab", False), ("a[", "a", False), ("[]", "a", False),
        ("a*ab", "aab", True), ("*ab*", "xxabyy", True), ("ab*ab", "ab", False), ("ä*", "äö", True),
    ],
)  # fmt: skip
def test_patterns_match_as_in_redis(glob: str, key: str, fits: bool) -> None:
    assert Pattern(glob).fits(key) is fits


def test_a_pattern_of_many_stars_takes_no_long_time() -> None:
    assert not Pattern("a*" * 500 + "b").fits("a" * 1000)
    assert "at most 1024 bytes" in str(Model().ask("KEYS", "*" * 1025))


def test_a_transaction_holds_so_many_commands_and_no_more() -> None:
    model = Model()
    model.ask("MULTI")
    queued = [model.ask("GET", "a") for _ in range(REDIS_QUEUED)]
    assert set(map(str, queued)) == {"QUEUED"}
    assert f"at most {REDIS_QUEUED} commands, and " in str(model.ask("GET", "a"))
    assert model.ask("GET", "a") == "QUEUED", "a client may send the rest ahead"
    assert model.session.held_bytes == 0, "it is not kept"
    assert str(model.ask("EXEC")).startswith("EXECABORT ")


def test_an_exec_with_arguments_ends_the_transaction() -> None:
    model = Model()
    model.ask("MULTI")
    model.ask("SET", "a", 1)
    assert str(model.ask("EXEC", "x")).startswith("EXECABORT ")
    assert model.ask("EXEC") == "ERR EXEC without MULTI"
    assert model.ask("EXEC", "x") == "ERR wrong number of arguments for 'exec' command"


def test_an_exec_that_is_not_done_is_answered_as_in_redis() -> None:
    assert [format_reply(NO_LIST, version) for version in (2, 3)] == ["*-1\r\n", "_\r\n"]


@pytest.mark.parametrize("wrong", [("SET", "a", "v" * (1 << 21)), ("PEXPIRE", "b", 1 << 50)])
def test_a_command_with_too_long_a_value_or_time_fails_alone(wrong: Any) -> None:
    model = Model()
    model.ask("MSET", "b", 1, "c", 1)
    model.ask("MULTI")
    for words in (("INCR", "c"), wrong, ("INCR", "c")):
        assert model.ask(*words) == "QUEUED"
    replies = model.ask("EXEC")
    assert isinstance(replies, list)
    assert (replies[0], type(replies[1]), replies[2]) == (2, Failure, 3)


def test_consumer_groups_are_refused_with_what_to_use_instead() -> None:
    model = Model()
    for command in ("XGROUP CREATE s g $", "XREADGROUP GROUP g c STREAMS s >"):
        reply = model.ask(*command.split())
        assert isinstance(reply, Failure)
        assert "there are no consumer groups here; read a stream by XREAD, or take jobs" in reply
