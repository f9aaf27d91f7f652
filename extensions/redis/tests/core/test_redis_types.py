r"""Typed values: each command, what the store holds, and what others see."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftline.redis.resp.replies import (
    NO_LIST,
    Failure,
    Pairs,
    SetReply,
    Value,
    format_reply,
)
from raftline.redis.resp.types import rows
from raftline.redis.tests.core.redis_model import NOW_MS, Model
from raftline.state.commands.key_commands import execute
from raftline.state.store import Store
from raftline.state.work import is_long
from raftline.wire.commands.authorization import denial_reason
from raftline.wire.commands.identity import Identity
from raftline.wire.limits import VALUE_BYTES
from raftline.wire.refusal import Refusal
from raftline_testing.runner.at_night import in_the_rest

pytestmark = pytest.mark.pure
WRONG_TYPE = Failure("WRONGTYPE Operation against a key holding the wrong kind of value")
NOT_INTEGER = Failure("ERR value is not an integer or out of range")
SYNTAX = Failure("ERR syntax error")
FAR = Failure(
    "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807"
)
HASH = "HSET h a 1 b 2;"
LIST = "RPUSH l a b c a;"
SET = "SADD s a b c;"
SORTED = "ZADD z 1 a 2 b 3.5 c;"
SCORES = SORTED + "ZADD y 10 b 20 d;"
STREAM = "XADD x 1-1 a 1;XADD x 2-0 a 2 b 3;XADD x 2-1 c 4;"
FIRST: Value = ["1-1", ["a", "1"]]
SECOND: Value = ["2-0", ["a", "2", "b", "3"]]
THIRD: Value = ["2-1", ["c", "4"]]
BAD_ID = Failure("ERR Invalid stream ID specified as stream command argument")
PLACES = st.integers(-10, 10)
NO_KEYS = Failure("ERR numkeys should be greater than 0")

# The commands before, the command, and its reply: all as of Redis 7.0.15.
ROWS: list[tuple[str, str, Value]] = [
    ("", "HSET h a 1 b 2", 2),
    (HASH, "HSET h a 3 c 4", 1),
    ("", "HSET h a 1 b", Failure("ERR wrong number of arguments for 'hset' command")),
    ("", "HMSET h a 1", "OK"),
    (HASH, "HSETNX h a 3", 0),
    (HASH + "HSETNX h c 3", "HGET h c", "3"),
    (HASH, "HGET h none", None),
    ("", "HGET h a", None),
    (HASH, "HMGET h b none a", ["2", None, "1"]),
    (HASH, "HGETALL h", Pairs("map", [("a", "1"), ("b", "2")])),
    ("", "HGETALL h", Pairs("map", [])),
    (HASH + "HSET h a 9", "HKEYS h", ["a", "b"]),
    (HASH, "HVALS h", ["1", "2"]),
    (HASH, "HLEN h", 2),
    (HASH, "HEXISTS h a", 1),
    (HASH, "HEXISTS h 1", 0),
    (HASH, "HSTRLEN h b", 1),
    (HASH, "HDEL h a none", 1),
    (HASH + "HDEL h a b", "EXISTS h", 0),
    (HASH, "HINCRBY h a 5", 6),
    ("HSET h a x", "HINCRBY h a 5", Failure("ERR hash value is not an integer")),
    (f"HSET h a {(1 << 63) - 1}", "HINCRBY h a 1",
     Failure("ERR increment or decrement would overflow")),
    (HASH, "HINCRBYFLOAT h a 0.5", "1.5"),
    ("HSET h a x", "HINCRBYFLOAT h a 1", Failure("ERR hash value is not a float")),
    (HASH, "HSCAN h 0 MATCH a* COUNT 1", ["0", ["a", "1"]]),
    (HASH, "HSCAN h 0 NOVALUES", ["0", ["a", "b"]]),
    (HASH, "HSCAN h x", Failure("ERR invalid cursor")),
    (LIST, "HSCAN l x", Failure("ERR invalid cursor")),
    ("", "HSCAN h 0 BAD", ["0", []]),
    (HASH, "HSCAN h -1 MATCH a", ["0", ["a", "1"]]),
    (HASH, "HSCAN h 18446744073709551616", Failure("ERR invalid cursor")),
    (HASH, "HINCRBYFLOAT h a inf", Failure("ERR value is NaN or Infinity")),
    ("HSET h a 1", "HRANDFIELD h 5 WITHVALUES", Pairs("pairs", [("a", "1")])),
    ("HSET h a 1", "HRANDFIELD h -2 WITHVALUES", Pairs("pairs", [("a", "1"), ("a", "1")])),
    (LIST, "HRANDFIELD l 1 BAD", SYNTAX),
    (HASH, "HRANDFIELD h -4611686018427387904 WITHVALUES", Failure("ERR value is out of range")),
    (HASH, "HRANDFIELD h -9223372036854775808", FAR),
    ("", "HRANDFIELD h -9223372036854775807", []),
    (SET, "SRANDMEMBER s 1 1", SYNTAX), (SET, "SRANDMEMBER s -9223372036854775808", FAR),
    (LIST, "SPOP l x", Failure("ERR value is out of range, must be positive")),
    (SET, "SPOP s 1 1", SYNTAX), (LIST, "ZRANDMEMBER l 1 BAD", SYNTAX),
    (LIST, "LPOP l 1 1", Failure("ERR wrong number of arguments for 'lpop' command")),
    (LIST, "LPOS l a RANK 0 COUNT -1", Failure(
        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use"
        " negative to start from the end of the list")),
    (SORTED, "ZCOUNT z ( inf", 3),
    ("", "LPUSH l a b c", 3),
    ("LPUSH l a b c", "LRANGE l 0 -1", ["c", "b", "a"]),
    (LIST, "RPUSH l x", 5),
    ("", "RPUSHX l a", 0),
    (LIST + "LPUSHX l x", "LINDEX l 0", "x"),
    (LIST, "LPOP l", "a"),
    (LIST, "RPOP l 2", ["a", "c"]),
    (LIST, "LPOP l 0", []),
    ("", "LPOP l", None),
    ("", "LPOP l 2", NO_LIST),
    (LIST, "LPOP l -1", Failure("ERR value is out of range, must be positive")),
    (LIST + "LPOP l 9", "TYPE l", "none"),
    (LIST, "LLEN l", 4),
    (LIST, "LRANGE l 1 2", ["b", "c"]),
    (LIST, "LRANGE l -2 99", ["c", "a"]),
    (LIST, "LRANGE l 3 1", []),
    (LIST + "LTRIM l 1 -2", "LRANGE l 0 -1", ["b", "c"]),
    (LIST + "LTRIM l 5 9", "EXISTS l", 0),
    (LIST, "LINDEX l -1", "a"),
    (LIST, "LINDEX l 9", None),
    (LIST + "LSET l -1 z", "LINDEX l 3", "z"),
    (LIST, "LSET l 9 z", Failure("ERR index out of range")),
    ("", "LSET l 0 z", Failure("ERR no such key")),
    (LIST, "LREM l 0 a", 2),
    (LIST + "LREM l -1 a", "LRANGE l 0 -1", ["a", "b", "c"]),
    (LIST, "LINSERT l BEFORE b x", 5),
    (LIST + "LINSERT l AFTER b x", "LINDEX l 2", "x"),
    (LIST, "LINSERT l BEFORE none x", -1),
    (LIST, "LPOS l a", 0),
    (LIST, "LPOS l a RANK -1", 3),
    (LIST, "LPOS l a COUNT 0", [0, 3]),
    (LIST, "LPOS l a COUNT -1", Failure("ERR COUNT can't be negative")),
    (LIST, "RPOPLPUSH l m", "a"),
    (LIST + "LMOVE l m LEFT RIGHT", "LRANGE m 0 -1", ["a"]),
    (LIST + "LMOVE l l LEFT RIGHT", "LRANGE l 0 -1", ["b", "c", "a", "a"]),
    ("", "LMOVE l m LEFT RIGHT", None),
    (LIST, "LMOVE l m UP RIGHT", Failure("ERR syntax error")),
    ("", "SADD s a b a", 2),
    (SET, "SADD s a x", 1),
    (SET, "SREM s a none", 1),
    (SET + "SREM s a b c", "EXISTS s", 0),
    (SET, "SMEMBERS s", SetReply(["a", "b", "c"])),
    (SET, "SISMEMBER s b", 1),
    (SET, "SMISMEMBER s b none", [1, 0]),
    (SET, "SCARD s", 3),
    (SET + "SPOP s 9", "EXISTS s", 0),
    ("", "SPOP s", None),
    (SET, "SPOP s -1", Failure("ERR value is out of range, must be positive")),
    ("", "SRANDMEMBER s", None),
    (SET, "SMOVE s t a", 1),
    (SET, "SMOVE s t none", 0),
    (SET + "SADD t b x", "SINTER s t", SetReply(["b"])),
    (SET + "SADD t b x", "SUNION s t", SetReply(["a", "b", "c", "x"])),
    (SET + "SADD t b x", "SDIFF s t", SetReply(["a", "c"])),
    (SET + "SADD t b x;SET u 1", "SUNIONSTORE u s t", 4),
    (SET, "SINTERSTORE s s none", 0),
    (SET + "SADD t b", "SDIFFSTORE s s t", 2),
    (SET, "SSCAN s 0 MATCH [ab]", ["0", ["a", "b"]]),
    ("", "ZADD z 1 a 2 b", 2),
    (SORTED, "ZADD z 9 a 4 d", 1),
    (SORTED, "ZADD z CH 9 a 4 d", 2),
    (SORTED, "ZADD z NX 9 a 4 d", 1),
    (SORTED + "ZADD z XX 9 a 4 d", "ZCARD z", 3),
    (SORTED, "ZADD z GT CH 0 a", 0),
    (SORTED, "ZADD z LT CH 0 a", 1),
    (SORTED, "ZADD z INCR 2 a", 3.0),
    (SORTED, "ZADD z NX INCR 2 a", None),
    (SORTED, "ZADD z NX XX 1 a",
     Failure("ERR XX and NX options at the same time are not compatible")),
    (SORTED, "ZADD z NX GT 1 a",
     Failure("ERR GT, LT, and/or NX options at the same time are not compatible")),
    (SORTED, "ZADD z INCR 1 a 2 b",
     Failure("ERR INCR option supports a single increment-element pair")),
    ("", "ZADD z x a", Failure("ERR value is not a valid float")),
    ("", "ZADD z 1e400 a", Failure("ERR value is not a valid float")),
    ("ZADD z inf a", "ZINCRBY z -inf a", Failure("ERR resulting score is not a number (NaN)")),
    (SORTED, "ZINCRBY z 0.5 a", 1.5),
    (SORTED, "ZREM z a none", 1),
    (SORTED, "ZSCORE z c", 3.5),
    (SORTED, "ZSCORE z none", None),
    (SORTED, "ZMSCORE z a none", [1.0, None]),
    (SORTED, "ZRANK z c", 2),
    (SORTED, "ZREVRANK z c", 0),
    (SORTED, "ZRANK z none", None),
    (SORTED, "ZCOUNT z (1 3.5", 2),
    (SORTED, "ZCOUNT z x 3", Failure("ERR min or max is not a float")),
    (SORTED, "ZLEXCOUNT z [a (c", 2),
    (SORTED, "ZLEXCOUNT z a c", Failure("ERR min or max not valid string range item")),
    (SORTED, "ZRANGE z 0 1", ["a", "b"]),
    (SORTED, "ZRANGE z 0 0 REV WITHSCORES", Pairs("scores", [("c", 3.5)])),
    (SORTED, "ZRANGE z 2 +inf BYSCORE LIMIT 1 5", ["c"]),
    (SORTED, "ZRANGE z + - BYLEX REV", ["c", "b", "a"]),
    (SORTED, "ZRANGE z 0 1 LIMIT 0 1", Failure(
        "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX")),
    (SORTED, "ZREVRANGE z 0 0", ["c"]),
    (SORTED, "ZRANGEBYSCORE z -inf (2 WITHSCORES", Pairs("scores", [("a", 1.0)])),
    (SORTED, "ZREVRANGEBYSCORE z 9 2 LIMIT 0 1", ["c"]),
    (SORTED, "ZRANGEBYLEX z - [b", ["a", "b"]),
    (SORTED, "ZREVRANGEBYLEX z [b -", ["b", "a"]),
    (SORTED + "ZRANGESTORE y z 0 1", "ZRANGE y 0 -1", ["a", "b"]),
    (SORTED, "ZREMRANGEBYSCORE z 1 2", 2),
    (SORTED, "ZREMRANGEBYRANK z -1 -1", 1),
    (SORTED, "ZREMRANGEBYLEX z - +", 3),
    (SORTED, "ZPOPMIN z", ["a", 1.0]),
    (SORTED, "ZPOPMAX z 2", Pairs("scores", [("c", 3.5), ("b", 2.0)])),
    ("", "ZPOPMIN z", []),
    (SORTED, "ZSCAN z 0 MATCH c", ["0", ["c", "3.5"]]),
    (LIST, "LMPOP 2 none l LEFT COUNT 2", ["l", ["a", "b"]]),
    ("", "LMPOP 1 none RIGHT", NO_LIST),
    (LIST, "LMPOP 0 l LEFT", NO_KEYS),
    (LIST, "LMPOP 2 l LEFT", Failure("ERR syntax error")),
    (LIST, "LMPOP 1 l LEFT COUNT 0", Failure("ERR count should be greater than 0")),
    (SORTED, "ZMPOP 2 none z MAX COUNT 2", ["z", [["c", 3.5], ["b", 2.0]]]),
    ("", "ZMPOP 1 none MIN", NO_LIST),
    (SORTED, "ZMPOP 1 z LEFT", Failure("ERR syntax error")),
    (SET + "SADD t b c x", "SINTERCARD 2 s t", 2),
    (SET + "SADD t b c x", "SINTERCARD 2 s t LIMIT 1", 1),
    (SET, "SINTERCARD 2 s", Failure("ERR Number of keys can't be greater than number of args")),
    (SCORES, "ZINTERCARD 2 z y", 1),
    (SORTED + "SADD s b c", "ZINTERCARD 2 z s", 2),
    (SORTED + "SADD s b c", "ZINTERCARD 2 z s LIMIT 1", 1),
    (SORTED, "ZINTERCARD 2 z none LIMIT 0", 0),
    (SORTED, "ZINTERCARD 1 z LIMIT -1", Failure("ERR LIMIT can't be negative")),
    (SORTED, "ZINTERCARD 1 z LIMIT", Failure("ERR syntax error")),
    (SORTED, "ZINTERCARD 1 z WITHSCORES", Failure("ERR syntax error")),
    (SORTED, "ZINTERCARD 2 z", Failure("ERR syntax error")),
    (SORTED, "ZINTERCARD 0 z",
     Failure("ERR at least 1 input key is needed for 'zintercard' command")),
    (SCORES, "ZUNION 2 z y WITHSCORES",
     Pairs("scores", [("a", 1.0), ("c", 3.5), ("b", 12.0), ("d", 20.0)])),
    (SCORES, "ZUNION 2 z y WEIGHTS 100 1 AGGREGATE MIN", ["b", "d", "a", "c"]),
    (SCORES, "ZINTER 2 z y AGGREGATE MAX WITHSCORES", Pairs("scores", [("b", 10.0)])),
    (SORTED + "SADD s b c", "ZINTER 2 z s WITHSCORES", Pairs("scores", [("b", 3.0), ("c", 4.5)])),
    (SCORES, "ZDIFF 2 z y WITHSCORES", Pairs("scores", [("a", 1.0), ("c", 3.5)])),
    (SCORES, "ZDIFF 1 z WEIGHTS 2", Failure("ERR syntax error")),
    (SORTED, "ZUNION 1 z WEIGHTS x", Failure("ERR weight value is not a float")),
    (SORTED, "ZUNION 0 z", Failure("ERR at least 1 input key is needed for 'zunion' command")),
    (SCORES, "ZUNIONSTORE z 2 z y", 4),
    (SCORES + "ZINTERSTORE w 2 z y WEIGHTS 1 -1", "ZRANGE w 0 -1 WITHSCORES",
     Pairs("scores", [("b", -8.0)])),
    (SCORES + "ZDIFFSTORE y 2 z z", "EXISTS y", 0),
    ("", "XADD x 5-3 a 1", "5-3"),
    ("", "XADD x 5 a 1", "5-0"),
    (STREAM, "XADD x 2-* a 1", "2-2"),
    (STREAM, "XADD x 9-* a 1", "9-0"),
    (STREAM, "XADD x * a 1", f"{NOW_MS}-0"),
    ("XADD x 1e9-0 a 1", "XLEN x", 0),
    ("XADD x 9999999999-4 a 1", "XADD x * a 1", "9999999999-5"),
    (STREAM, "XADD x 2-1 a 1", Failure(
        "ERR The ID specified in XADD is equal or smaller than the target stream top item")),
    ("", "XADD x 0-0 a 1", Failure("ERR The ID specified in XADD must be greater than 0-0")),
    ("", "XADD x 5-x a 1", BAD_ID),
    ("", "XADD x 5 a 1 b", Failure("ERR wrong number of arguments for 'xadd' command")),
    ("", "XADD x NOMKSTREAM 5 a 1", None),
    (STREAM + "XADD x MAXLEN ~ 2 3 a 1", "XRANGE x - + COUNT 1", [THIRD]),
    (STREAM + "XADD x MINID 2-1 3-0 d 5", "XRANGE x - +", [THIRD, ["3-0", ["d", "5"]]]),
    (STREAM + "XADD x MAXLEN 0 3 a 1", "XLEN x", 0),
    (STREAM + "XTRIM x MAXLEN 0", "XADD x 1-5 a 1", Failure(
        "ERR The ID specified in XADD is equal or smaller than the target stream top item")),
    ("", "XADD x MAXLEN -1 5 a 1", Failure("ERR The MAXLEN argument must be >= 0.")),
    (STREAM, "XTRIM x MAXLEN 1", 2),
    (STREAM, "XTRIM x MINID = 2-0", 1),
    (STREAM, "XTRIM x MAXLEN ~ 0 LIMIT 2", 2),
    (STREAM, "XTRIM x MAXLEN 1 LIMIT 2", Failure(
        "ERR syntax error, LIMIT cannot be used without the special ~ option")),
    (STREAM, "XTRIM x MINID 1 MAXLEN 1", Failure(
        "ERR syntax error, MAXLEN and MINID options at the same time are not compatible")),
    (STREAM, "XDEL x 1-1 2 2 7-7", 2),
    (STREAM + "XDEL x 1-1 2-0 2-1", "EXISTS x", 1),
    (STREAM, "XDEL x -", BAD_ID),
    (STREAM, "XLEN x", 3),
    ("", "XLEN x", 0),
    (STREAM, "XRANGE x - +", [FIRST, SECOND, THIRD]),
    (STREAM, "XRANGE x 2 2", [SECOND, THIRD]),
    (STREAM, "XRANGE x (1-1 (2-1", [SECOND]),
    (STREAM, "XRANGE x - + COUNT 0", NO_LIST),
    (STREAM, "XRANGE x - (0-0", Failure("ERR invalid end ID for the interval")),
    (STREAM, "XREVRANGE x + - COUNT 2", [THIRD, SECOND]),
    (STREAM, "XREAD COUNT 1 STREAMS x none 1-1 0", Pairs("keyed", [("x", [SECOND])])),
    (STREAM, "XREAD STREAMS x $", NO_LIST),
    (STREAM, "XREAD STREAMS x none 0", Failure(
        "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be"
        " specified.")),
    (STREAM, "XREAD COUNT 1 x 0", Failure("ERR syntax error")),
    (STREAM, "TYPE x", "stream"),
    (HASH, "TYPE h", "hash"),
    (LIST, "TYPE l", "list"),
    (SET, "TYPE s", "set"),
    (SORTED, "TYPE z", "zset"),
    (HASH, "EXISTS h", 1),
    (HASH, "DEL h", 1),
    (HASH + "RENAME h g", "HGETALL g", Pairs("map", [("a", "1"), ("b", "2")])),
    (HASH + "COPY h g;HSET g a 5", "HGET h a", "1"),
    (HASH + "EXPIRE h 10;HSET h c 1", "TTL h", 10),
    (HASH, "SET h 1 NX", None),
    (HASH, "SET h 1 XX", "OK"),
    (HASH, "SETNX h 1", 0),
    (HASH + "SET h 1", "GET h", "1"),
    ("SET k 1;" + HASH, "MGET k h", ["1", None]),
    (HASH + SET, "SCAN 0 TYPE set", ["0", ["s"]]),
    ("SET k 1;" + HASH, "SCAN 0 TYPE string", ["0", ["k"]]),
]  # fmt: skip
# Each refuses a value of another type.
REFUSED = [
    "GET h", "SET h 1 GET", "GETSET h 1", "GETDEL h", "GETEX h EX 5", "APPEND h x", "STRLEN h",
    "GETRANGE h 0 1", "SETRANGE h 0 x", "INCR h", "DECRBY h 2", "INCRBYFLOAT h 1",
    "DELEX h IFEQ 1", "LPUSH h a", "SADD h a", "ZADD h 1 a", "LRANGE h 0 1", "SMEMBERS h",
    "ZRANGE h 0 1", "HGET str a", "LLEN str", "SCARD str", "ZCARD str", "LMOVE l h LEFT LEFT",
    "SMOVE s h a", "SINTER s h", "LMPOP 2 none h LEFT", "ZMPOP 1 h MIN", "ZUNIONSTORE z 2 z h",
    "SINTERCARD 2 s h", "ZINTERCARD 2 z h", "XADD h * a 1", "XTRIM h MAXLEN 0", "XDEL h 1-1",
    "XLEN h", "XRANGE h - +", "XREAD STREAMS h 0",
]  # fmt: skip


def after(before: str) -> Model:
    model = Model()
    for each in filter(None, before.split(";")):
        model.ask(*each.split())
    return model


def in_queue(model: Model, *words: str) -> Value:
    """Return the reply to a command that is the only one of a transaction."""
    model.ask("MULTI")
    assert model.ask(*words) == "QUEUED"
    replies = model.ask("EXEC")
    assert isinstance(replies, list)
    return replies[0]


@pytest.mark.parametrize(("before", "command", "reply"), ROWS, ids=lambda part: str(part)[:60])
def test_a_command_on_a_type_has_the_reply_of_redis(
    before: str, command: str, reply: Value
) -> None:
    """Alone, and in a transaction, with another command and without."""
    words = command.split()
    assert after(before).ask(*words) == reply
    if words[0] != "SCAN":
        assert in_queue(after(before), *words) == reply
        assert after(before).in_multi(*words) == reply


def test_each_command_on_a_type_has_a_row() -> None:
    asked = {word for _, command, _ in ROWS for word in command.split()[:1]}
    done = {each.split()[0] for before, *_ in ROWS for each in before.split(";") if each}
    chosen = {"HRANDFIELD", "ZRANDMEMBER"}  # by chance: see below
    assert {row.name for row in rows.ROWS} - asked - done - chosen == set()


@pytest.mark.parametrize("command", REFUSED)
def test_a_command_for_another_type_changes_nothing(command: str) -> None:
    model = after(HASH + LIST + SET + "SET str 1")
    before = dict(model.store)
    assert model.ask(*command.split()) == WRONG_TYPE
    assert model.in_multi(*command.split()) == WRONG_TYPE
    assert dict(model.store) == before


# --- what the store holds -------------------------------------------------------------------------


def test_a_typed_value_is_text_that_a_person_reads() -> None:
    model = Model()
    model.ask("HSET", "h", "name", "Ada Lovelace", "a=b", "", "é", "\udcff")
    model.ask("RPUSH", "l", "first", "second job", "")
    model.ask("SADD", "s", "red", "green")
    model.ask("ZADD", "z", 2.5, "Bob", 1, "x=y", "1e15", "far")
    model.ask("XADD", "x", "7-1", "to", "Ada, Bob", "a=b", "1=2", "", "")
    assert dict(model.store) == {
        "h": r"\shash name=Ada\sLovelace a\x3db= é=\xff",
        "l": r"\slist first second\sjob ",
        "s": r"\sset red green",
        "z": r"\szset 1=x\x3dy 2.5=Bob 1000000000000000=far",
        "x": r"\sstream 7-1 7-1:to=Ada\x2c\sBob,a\x3db=1=2,=",
    }


ELEMENTS = [
    "",
    " ",
    "=",
    ",",
    ":",
    "a,b=c",
    "a=b",
    "a",
    "b",
    "\\",
    r"\s",
    "\n",
    "é",
    "\udcff",
    "a b",
    "then",
    ";",
]


def test_elements_may_have_any_bytes() -> None:
    """An element is never mistaken for another one, or for a part of one."""
    model, entries = Model(), list[Value]()
    for element in ELEMENTS:
        assert model.ask("HSET", "h", element, element) == 1
        assert model.ask("RPUSH", "l", element) == model.ask("LLEN", "l")
        assert model.ask("SADD", "s", element) == 1
        assert model.ask("ZADD", "z", 1, element) == 1
        assert model.ask("XADD", "x", "7-*", element, element) == f"7-{len(entries)}"
        entries.append([f"7-{len(entries)}", [element, element]])
    assert model.ask("XRANGE", "x", "-", "+") == entries
    assert model.ask("DEL", "x") == 1
    for element in ELEMENTS:
        assert model.ask("HGET", "h", element) == element
        assert model.ask("SISMEMBER", "s", element) == 1
        assert model.ask("ZSCORE", "z", element) == 1.0
    assert model.ask("LRANGE", "l", 0, -1) == ELEMENTS
    assert model.ask("SMEMBERS", "s") == SetReply(list(ELEMENTS))
    assert model.ask("HKEYS", "h") == ELEMENTS
    in_order = sorted(ELEMENTS, key=lambda each: each.encode("utf-8", "surrogateescape"))
    assert model.ask("ZRANGE", "z", 0, -1) == in_order
    for count, element in enumerate(ELEMENTS, 1):
        for words in (("HDEL", "h"), ("SREM", "s"), ("ZREM", "z")):
            assert model.ask(*words, element) == 1
        assert model.ask("HLEN", "h") == model.ask("SCARD", "s") == len(ELEMENTS) - count
    assert list(model.store) == ["l"]


def test_many_elements_at_once_are_as_one_by_one() -> None:
    """A command with many elements reads the value once, one with few searches it."""
    one, other = Model(), Model()
    chance = random.Random(5)
    names = [str(chance.randrange(40)) for _ in range(60)]
    pairs = [(name, str(place)) for place, name in enumerate(names)]
    one.ask("HSET", "h", *[each for pair in pairs for each in pair])
    one.ask("ZADD", "z", *[each for name, score in pairs for each in (score, name)])
    one.ask("SADD", "s", *names)
    for name, score in pairs:
        other.ask("HSET", "h", name, score)
        other.ask("ZADD", "z", score, name)
        other.ask("SADD", "s", name)
    assert dict(one.store) == dict(other.store)
    gone = names[::3]
    for verb, key in (("HDEL", "h"), ("ZREM", "z"), ("SREM", "s")):
        removed = [other.ask(verb, key, each) for each in gone]
        assert one.ask(verb, key, *gone) == removed.count(1)
    assert dict(one.store) == dict(other.store)


def test_lines_see_a_typed_value_and_refuse_to_compute_with_it() -> None:
    model = after(HASH)
    shown = r"GET response: \shash a=1 b=2"
    assert execute(model.store, "get h") == shown
    for line, kind in (("incr h", "number"), ("append h x", "text")):
        reply = execute(model.store, line)
        assert isinstance(reply, Refusal)
        assert (reply.code, reply) == (
            "wrong-kind", f"Sorry, h holds no {kind} but something else. Nothing was done."
        )  # fmt: skip
    assert execute(model.store, "get h") == shown
    assert execute(model.store, "cas h \\shash 1") == "CAS response, no match: h"
    execute(model.store, "set h 5")
    assert model.ask("GET", "h") == "5"


def test_no_text_of_a_client_is_a_typed_value() -> None:
    """Its spaces are written as spaces, and a backslash as two."""
    model = Model()
    for text in (" hash a=1", "\\shash a=1", r"\s"):
        model.ask("SET", "k", text)
        assert (model.ask("TYPE", "k"), model.ask("GET", "k")) == ("string", text)
        assert model.line(f"set k {model.store['k']}").startswith("SET response")
        assert model.ask("TYPE", "k") == "string"
    assert model.ask("SCAN", 0, "TYPE", "hash") == ["0", []]


def test_chance_comes_with_the_entry() -> None:
    """Each node chooses the same, and at another time another one is chosen."""
    members = "SADD s " + " ".join(map(str, range(50)))
    stores = [Store(is_at_floor=False), Store(is_at_floor=False)]
    chosen: set[str] = set()
    for now in range(20):
        replies = []
        for store in stores:
            store.number += 1
            execute(store, f"redis {now} {members}")
            replies.append(execute(store, f"redis {now} SPOP s 3 ; ZRANDMEMBER none ; SPOP s"))
        assert replies[0] == replies[1]
        chosen.add(replies[0])
    assert dict(stores[0]) == dict(stores[1])
    assert len(chosen) > 10
    model = after(HASH + SORTED)
    assert model.ask("HRANDFIELD", "h") in ("a", "b")
    assert sorted(str(model.ask("HRANDFIELD", "h", 5))) == sorted(str(["a", "b"]))
    assert len(str(model.ask("HRANDFIELD", "h", -5)).split()) == 5
    assert model.ask("ZRANDMEMBER", "z") in ("a", "b", "c")


def _unevenness(chosen: list[Value]) -> float:
    """Return chi square of choices among ten members: 28 in one of a thousand even draws."""
    expected = len(chosen) / 10
    return sum((chosen.count(str(one)) - expected) ** 2 / expected for one in range(10))


@pytest.mark.parametrize("command", ["SPOP", "SRANDMEMBER", "ZRANDMEMBER", "HRANDFIELD"])
@pytest.mark.parametrize("in_multi", [True, False], ids=["MULTI", "pipeline"])
def test_choices_of_one_millisecond_are_even(command: str, *, in_multi: bool) -> None:
    """A pipeline draws from many equal values, or again from one, within a millisecond."""
    model, draws = Model(), range(300)
    seeds = itertools.count()
    model.context.node.chance = lambda count: next(seeds) % count  # type: ignore[method-assign]
    each = {"S": ("SADD", "{}"), "Z": ("ZADD", "1 {}"), "H": ("HSET", "{} v")}[command[0]]
    for draw in draws:
        model.ask(each[0], f"k{draw}", *" ".join(map(each[1].format, range(10))).split())
    if in_multi:
        model.ask("MULTI")
    replies = [model.ask(command, f"k{draw}") for draw in draws]
    if in_multi:
        queued = model.ask("EXEC")
        assert isinstance(queued, list)
        replies = queued
    assert len(replies) == len(draws)
    assert _unevenness(replies) < 28
    same = sum(one == other for one, other in itertools.pairwise(replies))
    assert same < 60, "neighbours are equal by chance alone: 30 of 299"


@given(st.lists(st.sampled_from(["a", "bc", "", " ", "\\", "é"]), max_size=8), PLACES, PLACES)
def test_a_near_end_of_a_list_is_read_as_the_whole(items: list[str], begin: int, stop: int) -> None:
    """LRANGE and LINDEX part the elements at one end alone, if their places count from it."""
    model = Model()
    if items:
        model.ask("RPUSH", "l", *items)
    first = max(0, begin + len(items)) if begin < 0 else begin
    last = stop + len(items) if stop < 0 else stop
    assert model.ask("LRANGE", "l", begin, stop) == items[first : max(0, last + 1)]
    is_there = -len(items) <= begin < len(items)
    assert model.ask("LINDEX", "l", begin) == (items[begin] if is_there else None)


# --- bounds and rights ----------------------------------------------------------------------------


def test_a_typed_value_is_as_long_as_any_other() -> None:
    model = Model()
    model.ask("RPUSH", "l", *["x" * 1000] * 1000)
    before = model.store["l"]
    assert "the limit is 1048576" in str(model.ask("RPUSH", "l", *["x" * 1000] * 60))
    assert model.store["l"] == before
    assert model.ask("RPUSH", "l", "x" * 1000) == 1001


def test_a_transaction_may_push_to_a_long_list() -> None:
    """A push copies the text, and computes nothing with its elements."""
    model = Model()
    model.ask("RPUSH", "l", *["x" * 100] * 4000)
    model.ask("MULTI")
    for _ in range(1000):
        model.ask("RPUSH", "l", "x")
    replies = model.ask("EXEC")
    assert isinstance(replies, list)
    assert replies[-1] == 5000


@pytest.mark.parametrize(
    "command",
    [
        "HRANDFIELD h", "ZUNIONSTORE y 2 z z",
        *map(in_the_rest, (
            "HSCAN h 0 MATCH none", "SUNION s " + "s " * 100, "ZLEXCOUNT z - [a",
            "ZSCAN z 0 MATCH none", "XRANGE x - + COUNT 999", "XTRIM x MINID 0",
            "XREAD STREAMS x 0", "ZADD z" + " 0 m" * 9, "SRANDMEMBER s", "LINDEX l 5", "LREM l 0 a",
        )),
    ],
)  # fmt: skip
def test_a_transaction_computes_so_much_and_no_more(command: str) -> None:
    """A few bytes may look at each element of a long value a thousand times."""
    model, long = Model(), ["x" * 1000 + str(place) for place in range(1000)]
    model.ask("HSET", "h", *[each for name in long for each in (name, "")])
    model.ask("SADD", "s", *long)
    model.ask("RPUSH", "l", *long)
    model.ask("ZADD", "z", *[each for name in long for each in ("0", name)])
    for name in long[:900]:
        model.ask("XADD", "x", "*", name, "")
    line = f"redis 5 {' ; '.join([command.strip()] * 1000)}"
    reply = execute(model.store, line)
    assert isinstance(reply, Refusal)
    assert "the commands make more than" in reply
    assert is_long(model.store, [line])


@pytest.mark.parametrize(
    "command",
    [
        "SINTER s none",
        *map(in_the_rest, ("SINTERCARD 1 s", "SINTERCARD 2 s s LIMIT 1", "SMISMEMBER s a")),
    ],
)
def test_each_member_counts_however_short_it_is(command: str) -> None:
    """Such a command takes milliseconds, and its value has 50 KB."""
    store = Store({"s": r"\sset " + " ".join(map(str, range(1000, 11_000)))}, is_at_floor=False)
    reply = execute(store, f"redis 5 {' ; '.join([command] * 2000)}")
    assert isinstance(reply, Refusal)
    assert "the commands make more than" in reply


def test_a_command_on_many_values_is_long() -> None:
    """Each of them is short."""
    store = Store({"s": r"\sset " + " ".join(map(str, range(300)))}, is_at_floor=False)
    assert not is_long(store, ["redis 5 SUNION s s"])
    assert is_long(store, [f"redis 5 SUNION {'s ' * 100}"])


def test_only_a_command_on_a_very_long_value_is_long() -> None:
    for size, long in ((VALUE_BYTES // 2, False), (VALUE_BYTES + 200_000, True)):
        store = Store({"l": r"\slist " + "x" * size + "\0001"}, is_at_floor=False)
        assert is_long(store, ["redis 5 LPUSH l x"]) is long


@pytest.mark.parametrize(
    ("line", "reads", "writes"),
    [
        ("HSET a f 1", "a", "a"), ("HMSET a f 1", "", "a"), ("LPOP a", "a", "a"),
        ("HGET a f ; DEL z", "a", "z"),
        ("LMOVE a b LEFT LEFT", "a", "a b"), ("SINTERSTORE a b c", "b c", "a"),
        ("SDIFF a b ; DEL z", "a b", "z"), ("ZRANGESTORE a b 0 1", "b", "a"),
        ("BLPOP a b 0", "a b", "a b"), ("LMPOP 2 a b LEFT", "a b", "a b"),
        ("BZMPOP 0 2 a b MIN", "a b", "a b"), ("ZUNIONSTORE a 2 b c", "b c", "a"),
        ("SINTERCARD 2 a b LIMIT 1 ; DEL z", "a b", "z"), ("XADD a * f v", "", "a"),
        ("XREAD COUNT 1 STREAMS a b 0 0 ; DEL z", "a b", "z"), ("XDEL a 1-1", "a", "a"),
        ("SMOVE a b x", "a", "a b"),
    ],
)  # fmt: skip
def test_a_command_on_a_type_takes_the_rights_of_its_keys(
    line: str, reads: str, writes: str
) -> None:
    def denied(may_read: list[str], may_write: list[str]) -> str:
        identity = Identity("bob", reads=tuple(may_read), writes=tuple(may_write))
        return denial_reason(identity, f"redis 5 {line}", lambda lease: [])

    assert not denied(reads.split(), writes.split())
    for key in reads.split():
        others = [each for each in reads.split() if each != key]
        assert "bob may not" in denied(others, writes.split())
    for key in writes.split():
        others = [each for each in writes.split() if each != key]
        assert "bob may not" in denied(reads.split(), [*others, "zz"])


def test_watch_notices_a_change_of_an_element() -> None:
    model = after(HASH + "WATCH h")
    Model(model.store).ask("HSET", "h", "a", 9)
    assert in_queue_is_refused(model)


def in_queue_is_refused(model: Model) -> bool:
    model.ask("MULTI")
    model.ask("HSET", "h", "a", 5)
    return model.ask("EXEC") is NO_LIST and model.ask("HGET", "h", "a") == "9"


# --- replies --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "resp2", "resp3"),
    [
        (SetReply(["a"]), "*1\r\n$1\r\na\r\n", "~1\r\n$1\r\na\r\n"),
        (Pairs("map", [("a", "1")]), "*2\r\n$1\r\na\r\n$1\r\n1\r\n",
         "%1\r\n$1\r\na\r\n$1\r\n1\r\n"),
        (Pairs("scores", [("a", 1.5)]), "*2\r\n$1\r\na\r\n$3\r\n1.5\r\n",
         "*1\r\n*2\r\n$1\r\na\r\n,1.5\r\n"),
        (Pairs("keyed", [("a", ["b"])]), "*1\r\n*2\r\n$1\r\na\r\n*1\r\n$1\r\nb\r\n",
         "%1\r\n$1\r\na\r\n*1\r\n$1\r\nb\r\n"),
        (Pairs("pairs", [("a", "b")]), "*2\r\n$1\r\na\r\n$1\r\nb\r\n",
         "*1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
        (3.0, "$1\r\n3\r\n", ",3\r\n"), (float("-inf"), "$4\r\n-inf\r\n", ",-inf\r\n"),
        (0.1, "$19\r\n0.10000000000000001\r\n", ",0.10000000000000001\r\n"),
        (1e16, "$17\r\n10000000000000000\r\n", ",10000000000000000\r\n"),
        (1e17, "$5\r\n1e+17\r\n", ",1e+17\r\n"),
    ],
)  # fmt: skip
def test_a_reply_has_the_type_of_its_protocol(value: Value, resp2: str, resp3: str) -> None:
    assert (format_reply(value, 2), format_reply(value, 3)) == (resp2, resp3)
