"""Scripts: what they do as entries, and that those of libraries answer as in Redis."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftline.redis.harness.library_scripts import TEXTS
from raftline.redis.redis_node import RedisNode
from raftline.redis.resp.entry import answers_in, format_entry
from raftline.redis.resp.functions import FUNCTIONS
from raftline.redis.resp.limits import (
    REDIS_QUEUED,
    REDIS_SCRIPT_BYTES,
    REDIS_SCRIPTS,
    REDIS_SCRIPTS_BYTES,
)
from raftline.redis.resp.replies import Failure, SetReply, Value
from raftline.redis.resp.scripts import LIST, NO_SCRIPT, key_of, keys_in, sha_of
from raftline.redis.tests.core.redis_model import NOW_MS, Model
from raftline.state.commands.key_commands import execute
from raftline.state.store import Store
from raftline.wire.operands.operands import Limits

pytestmark = pytest.mark.pure
RELEASE = TEXTS["lock-release"][0]
COUNT = TEXTS["incr-expire"][0]
# In an error: what follows it, and the line.
PLACE = re.compile(r"(user_script):[0-9]+(?=:)| script: [0-9a-f]{40}(, on @user_script:[0-9]+\.)?$")


def short(value: Value) -> Value:
    """Return a reply; an error without the SHA1 of its script, and without a line."""
    if isinstance(value, list):
        return list(map(short, value))
    return Failure(PLACE.sub(r"\1", value)) if isinstance(value, Failure) else value


# --- texts ----------------------------------------------------------------------------------------


def test_script_is_in_the_log_once() -> None:
    model = Model()
    for token in ("5f2c", "61aa"):
        assert model.ask("EVAL", RELEASE, 1, "job", token) == 0
    first, second = model.lines
    assert first.startswith(f"redis {NOW_MS} EVAL if\\sredis.call('get',\\sKEYS[1])")
    assert second == f"redis {NOW_MS} EVALSHA {sha_of(RELEASE)} 1 job 61aa"


@pytest.mark.parametrize("how", ["EVAL", "SCRIPT"])
def test_evalsha_knows_what_is_in_the_store(how: str) -> None:
    model, sha = Model(), sha_of(RELEASE)
    model.ask("SET", "k", "token")
    assert model.ask("EVALSHA", sha, 1, "k", "token") == NO_SCRIPT
    assert model.ask("SCRIPT", "EXISTS", sha) == [0]
    if how == "EVAL":
        assert model.ask("EVAL", RELEASE, 1, "k", "other") == 0
    else:
        assert model.ask("SCRIPT", "LOAD", RELEASE) == sha
    assert model.ask("SCRIPT", "EXISTS", sha.upper(), "x") == [1, 0]
    assert model.ask("EVALSHA", sha.upper(), 1, "k", "token") == 1
    assert model.ask("SCRIPT", "FLUSH", "sync") == "OK"
    assert model.ask("EVALSHA", sha, 1, "k", "token") == NO_SCRIPT
    assert not [key for key in model.store if key.startswith("redis-script:")]


@pytest.mark.parametrize("change", [f"del {key_of(sha_of(RELEASE))}", "FLUSHALL", "SCRIPT FLUSH"])
def test_eval_sends_a_text_again_that_is_gone(change: str) -> None:
    """The node has noted that the text is in the log; the store decides."""
    model = Model()
    model.ask("EVAL", RELEASE, 1, "k", "token")
    model.ask(*change.split())
    model.ask("SET", "k", "token")
    assert model.ask("EVALSHA", sha_of(RELEASE), 1, "k", "token") == NO_SCRIPT
    assert model.ask("EVAL", RELEASE, 1, "k", "token") == 1


def test_other_text_under_the_key_of_a_script_is_not_run() -> None:
    """The right to write such a key changes no script."""
    model, sha = Model(), sha_of(RELEASE)
    model.ask("EVAL", RELEASE, 1, "k", "token")
    model.ask("SET", key_of(sha), "return 'other'")
    assert model.ask("EVALSHA", sha, 1, "k", "token") == NO_SCRIPT
    assert model.ask("EVAL", RELEASE, 1, "k", "token") == 0
    assert model.ask("EVALSHA", sha, 1, "k", "token") == 0
    for key in (key_of(sha), LIST):
        model.ask("DEL", key)
        model.ask("RPUSH", key, "1")
    assert model.ask("EVALSHA", sha, 1, "k", "token") == NO_SCRIPT
    assert model.ask("SCRIPT", "LOAD", RELEASE) == sha
    assert model.ask("EVALSHA", sha, 1, "k", "token") == 0


def test_error_of_a_script_is_not_taken_for_that_of_the_node() -> None:
    """A script that had changed something would run twice."""
    model = Model()
    text = f"redis.call('incr', KEYS[1]) return redis.error_reply('{NO_SCRIPT}')"
    for count in (1, 2):
        assert model.ask("EVAL", text, 1, "n") == f"ERR {NO_SCRIPT}"
        assert model.ask("GET", "n") == str(count)


def test_store_keeps_so_many_scripts() -> None:
    """The oldest one goes; its clients send the text again."""
    model = Model()
    for number in range(REDIS_SCRIPTS + 1):
        model.ask("SCRIPT", "LOAD", f"return {number}")
    shas = [sha_of(f"return {number}") for number in range(REDIS_SCRIPTS + 1)]
    assert model.ask("SCRIPT", "EXISTS", shas[0], shas[1], shas[-1]) == [0, 1, 1]
    long = [f"return {number} --{'x' * (REDIS_SCRIPT_BYTES - 20)}" for number in range(20)]
    for text in long:
        model.ask("SCRIPT", "LOAD", text)
    kept = sum([len(value) for key, value in model.store.items() if key != LIST])
    assert REDIS_SCRIPTS_BYTES // 2 < kept <= REDIS_SCRIPTS_BYTES
    assert model.ask("SCRIPT", "EXISTS", sha_of(long[-1]), sha_of(long[0])) == [1, 0]


def test_node_notes_so_many_scripts() -> None:
    node = RedisNode(Limits(), lambda: 0.0, lambda count: "0" * 2 * count)
    for number in range(REDIS_SCRIPTS + 1):
        node.keep_script(str(number), takes_times=number == 1)
    node.keep_script("1")
    assert [node.script("0"), node.script("1"), node.script("2")] == [None, True, False]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["EVAL", "return 1", "x"], "not an integer"), (["EVAL", "return 1", "1"], "greater than"),
        (["EVAL", "return 1", "-1"], "can't be negative"), (["EVALSHA", "x", "0"], "NOSCRIPT"),
        (["EVAL", " " * (REDIS_SCRIPT_BYTES + 1), "0"], "the limit is"),
        (["SCRIPT", "LOAD", " " * (REDIS_SCRIPT_BYTES + 1)], "the limit is"),
        (["SCRIPT", "NOPE"], "unknown subcommand"), (["SCRIPT", "LOAD"], "number of arguments"),
        (["SCRIPT", "FLUSH", "x"], "SYNC|ASYNC"),
    ],
)  # fmt: skip
def test_wrong_call_makes_no_entry(words: list[str], problem: str) -> None:
    model = Model()
    reply = model.ask(*words)
    assert isinstance(reply, Failure)
    assert problem in reply
    assert model.lines == []


def test_text_that_is_not_a_script_is_not_kept() -> None:
    model = Model()
    problem = "ERR Error compiling script (new function): user_script:1: "
    assert str(model.ask("EVAL", "return +", 0)).startswith(problem)
    assert str(model.ask("SCRIPT", "LOAD", "return +")).startswith(problem)
    assert not model.store.held


# --- what they do --------------------------------------------------------------------------------


def test_script_gets_the_time_that_a_key_has_left() -> None:
    model = Model()
    model.ask("SET", "job", "me", "PX", 5000)
    assert model.ask("EVAL", TEXTS["lock-extend"][0], 1, "job", "me", 3000, 0) == 1
    assert model.lines[-1].startswith(f"redis {NOW_MS} own-1-5=5000 EVAL ")
    assert model.ask("PTTL", "job") == 8000
    model.ask("EVAL", TEXTS["lock-extend"][0], 1, "job", "me", 3000, 0)
    assert f" own-3-8=8000 EVALSHA {sha_of(TEXTS['lock-extend'][0])} 1 job" in model.lines[-1]


@pytest.mark.parametrize("in_multi", [False, True])
def test_script_gets_the_time_of_a_key_that_it_computes(in_multi: bool) -> None:
    """The entry that lacks the time does nothing, and the next one has it."""
    model = Model()
    model.ask("SET", "job", "me", "PX", 5000)
    text = "redis.call('incr', 'n') return redis.call('PT' .. 'TL', 'jo' .. 'b')"
    ask = model.in_multi if in_multi else model.ask
    for count in (1, 2):
        assert ask("EVAL", text, 0) == 5000
        assert model.ask("GET", "n") == str(count)
    entries = [line for line in model.lines if line.startswith("redis ")]
    assert len(entries) == 4


def test_script_whose_times_change_does_nothing() -> None:
    """Between the read of the time and the entry, each time, the key gets a new one."""
    model = Model()

    def change() -> None:
        model.store.number += 1
        execute(model.store, "setex job 50 me")

    model.before_write = change
    reply = model.ask("EVAL", "redis.call('incr', 'n') return redis.call('pttl', 'job')", 0)
    assert str(reply).startswith("TRYAGAIN the times of keys change too often: job")
    assert "n" not in model.store


def test_script_that_only_reads_changes_nothing() -> None:
    model = Model()
    model.ask("SET", "a", "5")
    assert model.ask("EVAL_RO", "return redis.call('get', KEYS[1])", 1, "a") == "5"
    reply = model.ask("EVAL_RO", "return redis.call('set', KEYS[1], '6')", 1, "a")
    assert str(reply).startswith("ERR Write commands are not allowed from read-only scripts.")
    assert model.ask("EVALSHA_RO", sha_of("return redis.call('get', KEYS[1])"), 1, "a") == "5"


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        ("'KEYS', '*'", "This Redis command is not allowed from script"),
        ("'EVAL', 'return 1', 0", "This Redis command is not allowed from script"),
        ("'NOPE'", "Unknown Redis command called from script"),
        ("'GET'", "Wrong number of args calling Redis command from script"),
        ("", "Please specify at least one argument for this redis lib call"),
        ("'GET', {}", "Lua redis lib command arguments must be strings or integers"),
    ],
)
def test_command_that_no_script_may_call_is_an_error(call: str, problem: str) -> None:
    assert short(Model().ask("EVAL", f"return redis.call({call})", 0)) == f"ERR {problem}"
    assert Model().ask("EVAL", f"return redis.pcall({call}).err", 0) == f"ERR {problem}"


def test_script_reads_the_time_of_its_entry() -> None:
    seconds, rest = divmod(NOW_MS, 1000)
    reply = Model().ask("EVAL", "return redis.call('time')", 0)
    assert reply == [str(seconds), str(1000 * rest)]


def test_mistake_of_the_interpreter_is_one_refusal_everywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No exception of Python leaves an entry, which would end every node that applies it."""

    def broken(*_: Any) -> Value:
        raise IndexError("list index out of range")

    monkeypatch.setitem(FUNCTIONS, "GET", FUNCTIONS["GET"]._replace(decide=broken))
    store = Store(is_at_floor=False)
    text = r"redis.call('set',\s'a',\s'1')\sredis.pcall('get',\s'a')"
    reply = execute(store, f"redis 5 EVAL {text} 0")
    assert "the script met a mistake of this store (IndexError" in str(reply)
    assert not store.held


@pytest.mark.parametrize(
    ("text", "problem"),
    [("while true do end", "use fewer at a time"), ("return ('x'):rep(1e8)", "use fewer at a time"),
     ("for i = 1, 100 do redis.call('set', 'k' .. i, ('x'):rep(1e5)) end", "the changes have more"),
     ("pcall(function() while true do end end) return 1", "use fewer at a time")],
)  # fmt: skip
def test_script_over_its_budget_does_nothing(text: str, problem: str) -> None:
    store = Store(is_at_floor=False)
    line = format_entry(5, [["EVAL", f"redis.call('set', 'a', 1) {text}", "0"]])
    assert problem in str(execute(store, line))
    assert not store.held


# The commands before, the script with the words after its text, and its reply. They are replies of
# Redis 7.0.15, which test_scripts_as_redis.py compares.
ROWS: list[tuple[str, str, Value]] = [
    ("SET a me", "lock-release 1 a me", 1),
    ("SET a me", "lock-release 1 a you", 0),
    ("SET a me", "lock-release 1 a", 0),
    ("", "lock-release 1 a me", 0),
    ("", "lock-release 0 a me", Failure("ERR Lua redis lib command arguments must be strings or"
                                        " integers")),
    ("SET a me PX 9000", "lock-renew 1 a me 7000", 1),
    ("SET a me", "lock-renew 1 a me -1", 1),
    ("SET a me", "lock-renew 1 a me x",
     Failure("ERR value is not an integer or out of range")),
    ("SET a me PX 9000", "lock-extend 1 a me 5 0", 1),
    ("SET a me", "lock-extend 1 a me 5 0", 0),
    ("SET a me PX 9000", "lock-extend 1 a me x 0",
     Failure("ERR user_script: attempt to perform arithmetic on field '?' (a string value)")),
    ("SET a me PX 9000", "lock-add 1 a me 5", 1),
    ("SET a me PX 9000", "lock-left 1 a me", 9000),
    ("SET a me", "lock-left 1 a me", 0),
    ("", "locks-acquire 2 a b me 9000", 2),
    ("SET b x", "locks-acquire 2 a b me 9000", 0),
    ("MSET a me b me", "locks-extend 2 a b me 9000", 2),
    ("MSET a me b x", "locks-extend 2 a b me 9000", 0),
    ("MSET a me b x", "locks-release 2 a b me", 1),
    ("", "locks-release 0 me", 0),
    ("", "lock-set 1 a me 9000", "OK"),
    ("SET a me", "lock-set 1 a me 9000", "OK"),
    ("SET a x", "lock-set 1 a me 9000", Failure("ERR ERROR")),
    ("", "lock-unset 1 a me", "OK"),
    ("SET a me", "lock-unset 1 a me", 1),
    ("SET a me EX 9", "lock-ttl 1 a me", 9),
    ("SET a x", "lock-ttl 1 a me", Failure("ERR ERROR")),
    ("", "lock-take 1 a me 9", 1),
    ("SET a me", "lock-take 1 a me 9", 2),
    ("SET a x", "lock-take 1 a me 9", 0),
    ("", "lock-take 1 a me x",
     Failure("ERR value is not an integer or out of range")),
    ("", "incr-expire 1 a 9", 1),
    ("SET a 1", "incr-expire 1 a", 2),
    ("SET a x", "incr-pexpire 1 a 9", Failure("ERR value is not an integer or out of range")),
    ("", "incrby-expire 1 a 9 5", 5),
    ("SET a 1", "incrby-expire 1 a 9 5", 6),
    ("", "incrby-pexpire 1 a 1 9000", 1),
    ("", "incrby-existing 1 a 5", None),
    ("SET a 1", "incrby-existing 1 a 5", 6),
    ("", "incrby 1 a 5", 5),
    ("SET a 9007199254740992", "incrby 1 a 1", 9007199254740992),  # numbers of Lua are doubles
    ("SET a 9223372036854775806", "incrby 1 a 1", -(1 << 63)),
    ("", "rate-limiter-flexible 1 a 2 9", [2, 9000]),
    ("SET a 1", "rate-limiter-flexible 1 a 2 9", [3, 9000]),
    ("SET a 1 PX 500", "rate-limiter-flexible 1 a 2 9", [3, 500]),
    ("", "rate-limit-redis 1 a 9000", [1, 9000]),
    ("SET a 1 PX 500", "rate-limit-redis 1 a 9000", [2, 500]),
    ("SET a 1", "rate-limit-redis 1 a 9000", [1, 9000]),
    ("", "rate-limit-redis-4 1 a 0 9000", [1, 9000]),
    ("SET a 1 PX 500", "rate-limit-redis-4 1 a 0 9000", [2, 500]),
    ("SET a 1 PX 500", "rate-limit-redis-4 1 a 1 9000", [2, 9000]),
    ("", "rate-limit-redis-get 1 a", [None, -2]),
    ("SET a 3", "rate-limit-redis-get 1 a", ["3", -1]),
    ("", "fastify-rate-limit 1 a 1000 2 false false", [1, 1000]),
    ("SET a 2 PX 500", "fastify-rate-limit 1 a 1000 2 false false", [3, 500]),
    ("SET a 2 PX 500", "fastify-rate-limit 1 a 1000 2 true false", [3, 1000]),
    ("SET a 4 PX 500", "fastify-rate-limit 1 a 1000 2 false true", [5, 4000]),
    ("SET a 4", "fastify-rate-limit 1 a 1000", [5, -1]),
    ("SET a 4", "fastify-rate-limit 1 a 1000 x true",
     Failure("ERR user_script: attempt to compare nil with number")),
    ("SET a 4", "fastify-rate-limit-read 1 a", [4, 0]),
    ("", "fastify-rate-limit-read 1 a", [0, 0]),
    ("SET a x", "fastify-rate-limit-read 1 a", []),
    ("", "limits-sliding-window 2 a b 3 10 2", 1),
    ("", "limits-sliding-window 2 a b 3 10 5", None),
    ("SET b 2 PX 15000", "limits-sliding-window 2 a b 3 10 1", 1),
    ("SET b 3 PX 15000", "limits-sliding-window 2 a b 3 10 1", None),
    ("SET b 4 PX 5000", "limits-sliding-window 2 a b 3 10 1", 1),
    ("SET b 4 PX 5000", "limits-sliding-window 2 a b 3 10 2", None),
    ("", "limits-sliding-window 2 a b 3 x 1",
     Failure("ERR user_script: attempt to perform arithmetic on a nil value")),
    ("SET b 4 PX 5000", "limits-sliding-window-get 2 a b 10", ["4", 5000, "0", 15000]),
    ("SET b 4 PX 15000", "limits-sliding-window-get 2 a b 10", [None, -2, "4", 15000]),
    ("", "next-id 1 a 5", 5),
    ("SET a 5", "next-id 1 a 5", None),
    ("SET a x", "next-id 1 a 1.5", 1),
    ("SET a old", "compare-and-set 1 a new old", "OK"),
    ("SET a old", "compare-and-set 1 a new old EX 9", "OK"),
    ("SET a x", "compare-and-set 1 a new old", 0),
    ("SET a me", "redis-lock-release 2 a b me 9000", 0),
    ("SET a you", "redis-lock-release 2 a b me 9000", 1),
    ("RPUSH a x", "redis-lock-release 2 a b me 9000",
     Failure("WRONGTYPE Operation against a key holding the wrong kind of value")),
    ("SET a me PX 9000", "redis-lock-extend 2 a b me 5", 0),
    ("SET a me", "redis-lock-extend 2 a b me 5", 2),
    ("", "redis-lock-extend 2 a b me 5", 1),
    ("SET a you", "redis-lock-reset 2 a b me 9000", 1),
    ("", "walrus-lock-acquire 1 a me 9000", 1),
    ("SET a you", "walrus-lock-acquire 1 a me 9000", 0),
    ("", "walrus-lock-acquire 1 a me x",
     Failure("ERR user_script: attempt to compare number with nil")),
    ("SET a me", "walrus-lock-release 2 a b me", 1),
    ("SET a you", "walrus-lock-release 2 a b me", 0),
    ("", "limits-moving-window 1 a 100 2 60 1", 1),
    ("RPUSH a 99 98", "limits-moving-window 1 a 100 2 60 1", None),
    ("RPUSH a 99 40", "limits-moving-window 1 a 100 2 60 1", None),
    ("RPUSH a 99 39.5", "limits-moving-window 1 a 100 2 60 1", 1),
    ("RPUSH a 99 98", "limits-moving-window 1 a 100 2 60 3", None),
    ("RPUSH a 99 x", "limits-moving-window 1 a 100 2 60 1",
     Failure("ERR user_script: attempt to compare number with nil")),
    ("RPUSH a 99 98", "limits-moving-window 1 a 100 2 x 1",
     Failure("ERR user_script: attempt to perform arithmetic on local 'expiry' (a nil value)")),
    ("RPUSH a 99 98.25 7", "limits-moving-window-get 1 a 50 3", ["98.25", 2]),
    ("RPUSH a 9 8", "limits-moving-window-get 1 a 50 3", None),
    ("", "limits-moving-window-get 1 a 50 3", None),
    ("RPUSH a 9", "limits-moving-window-get 1 a 50 1e18",
     Failure("ERR value is not an integer or out of range")),
    ("", "huey-due 1 a 40", []),
    ("ZADD a 39 x 40.5 y 41 z", "huey-due 1 a 40.5", ["x", "y"]),
    ("", "cashews-sliding-window 1 a 40 100 2 9000", 1),
    ("ZADD a 39 x 40 y", "cashews-sliding-window 1 a 40 100 2 0", 2),
    ("ZADD a 41 x 40 y", "cashews-sliding-window 1 a 40 100 2 0", 2),
    ("", "cashews-sliding-window 1 a",
     Failure("ERR user_script: attempt to concatenate field '?' (a nil value)")),
    ("", "pyrate-put 1 a 100 1 x: 1 40 2 0", [-1, -1]),
    ("ZADD a 41 x 42 y", "pyrate-put 1 a 100 1 x: 2 50 2 0 40 2 1", [1, 41]),
    ("ZADD a 41 x 42 y", "pyrate-put 1 a 100 1 x: 1 40 2 -1", [0, -1]),
    ("ZADD a 41 x 42 y", "pyrate-put 1 a 100 9 x: 1 40 2 5", [0, -1]),
    ("", "pyrate-put 1 a 100 1 x: 1 40",
     Failure("ERR user_script: attempt to perform arithmetic on local 'limit' (a nil value)")),
    ("", "pyrate-put 1 a 100 x",
     Failure("ERR user_script: 'for' limit must be a number")),
    ("ZADD b 1.5 x 2 y", "channels-put-back 0 a b", None),
    ("RPUSH b x", "channels-put-back 0 a b",
     Failure("WRONGTYPE Operation against a key holding the wrong kind of value")),
    ("ZADD b 1 x 2 y", "channels-group-send 2 a b m1 m2 5 2 100 60", 1),
    ("", "channels-group-send 1 a m1",
     Failure("ERR user_script: attempt to compare number with nil")),
    ("", "kombu-refresh-binding 2 a b m e 60000", None),
    ("", "kombu-refresh-binding 2 a b m e x",
     Failure("ERR user_script: attempt to perform arithmetic on a nil value")),
    ("ZADD a 1 e 2 g", "kombu-sweep-bindings 1 a t. p. 10", 2),
    ("ZADD a 1 e 2 g", "kombu-sweep-bindings 1 a t. p. 1", 1),
    (f"ZADD a {NOW_MS + 1} e", "kombu-sweep-bindings 1 a t. p. 10", 0),
]  # fmt: skip


def asked(model: Model, command: str) -> Value:
    """Return the reply to a script that is named instead of its text."""
    name, *words = command.split()
    return short(model.ask("EVAL", TEXTS[name][-1], *words))


@pytest.mark.parametrize(("before", "command", "reply"), ROWS, ids=lambda part: str(part)[:50])
def test_a_script_has_the_reply_of_redis(before: str, command: str, reply: Value) -> None:
    model, multi = Model(), Model()
    for each in filter(None, [before]):
        model.ask(*each.split())
        multi.ask(*each.split())
    assert asked(model, command) == reply
    multi.ask("MULTI")
    multi.ask("SET", "other", 1)
    assert asked(multi, command) == "QUEUED"
    assert short(multi.ask("EXEC")) == ["OK", reply]


@pytest.mark.parametrize(
    ("before", "command", "then", "reply"),
    [
        ("SET a me", "lock-release 1 a me", "EXISTS a", 0),
        ("SET a me PX 9000", "lock-renew 1 a me 7000", "PTTL a", 7000),
        ("SET a me PX 9000", "lock-extend 1 a me 5 0", "PTTL a", 9005),
        ("SET a me PX 9000", "lock-extend 1 a me 5000 1", "PTTL a", 5000),
        ("SET a me PX 9000", "lock-add 1 a me 5", "PTTL a", 9005),
        ("", "locks-acquire 2 a b me 9000", "PTTL b", 9000),
        ("MSET a me b me", "locks-extend 2 a b me 9000", "PTTL a", 9000),
        ("MSET a me b x", "locks-release 2 a b me", "MGET a b", [None, "x"]),
        ("SET a me", "lock-set 1 a me 9000", "PTTL a", 9000),
        ("SET a x", "lock-unset 1 a me", "GET a", "x"),
        ("", "incr-expire 1 a 9", "TTL a", 9),
        ("SET a 1", "incr-expire 1 a 9", "TTL a", -1),
        ("", "incr-pexpire 1 a 9000", "PTTL a", 9000),
        ("", "incrby-expire 1 a 9 5", "TTL a", 9),
        ("SET a 1", "incrby-expire 1 a 9 5", "TTL a", -1),
        ("", "incrby-pexpire 1 a 1 9000", "PTTL a", 9000),
        ("", "incrby-existing 1 a 5", "EXISTS a", 0),
        ("", "rate-limiter-flexible 1 a 2 9", "PTTL a", 9000),
        ("SET a 1", "rate-limit-redis 1 a 9000", "PTTL a", 9000),
        ("SET a 1 PX 500", "rate-limit-redis-4 1 a 1 9000", "PTTL a", 9000),
        ("SET a 4 PX 500", "fastify-rate-limit 1 a 1000 2 false true", "PTTL a", 4000),
        ("", "limits-sliding-window 2 a b 3 10 2", "PTTL b", 20_000),
        ("SET b 4 PX 5000", "limits-sliding-window 2 a b 3 10 1", "MGET a b", ["4", "1"]),
        ("SET b 4 PX 5000", "limits-sliding-window-get 2 a b 10", "PTTL b", 15_000),
        ("SET a 5", "next-id 1 a 7.5", "GET a", "7.5"),
        ("SET a old", "compare-and-set 1 a new old EX", "GET a", "new"),
        ("SET a old", "compare-and-set 1 a new old EX 9", "TTL a", 9),
        ("SET a old", f"compare-and-set 1 a new old PX {1 << 50}", "GET a", "old"),
        ("SET a me", "redis-lock-release 2 a b me 9000", "LRANGE b 0 -1", ["1"]),
        ("RPUSH b x", "redis-lock-reset 2 a b me 9000", "PTTL b", 9000),
        ("SET a me PX 9000", "redis-lock-extend 2 a b me 5", "PTTL a", 5000),
        ("", "walrus-lock-acquire 1 a me 9000", "PTTL a", 9000),
        ("", "walrus-lock-acquire 1 a me 0", "PTTL a", -1),
        ("SET a me", "walrus-lock-release 2 a b me", "LRANGE b 0 -1", ["1"]),
        ("RPUSH a 39 38", "limits-moving-window 1 a 100.25 3 60 2", "LRANGE a 0 -1",
         ["100.25", "100.25", "39"]),
        ("", "limits-moving-window 1 a 100 3 60 1", "TTL a", 60),
        ("", "limits-moving-window 1 a 1 12001 60 12001", "LLEN a", 12_001),
        ("ZADD a 39 x 40.5 y 41 z", "huey-due 1 a 40.5", "ZRANGE a 0 -1", ["z"]),
        ("", "cashews-sliding-window 1 a 40 100 2 9000", "PTTL a", 9000),
        ("ZADD a 39 x 40 y", "cashews-sliding-window 1 a 40 100 2 0", "ZRANGE a 0 -1",
         ["y", "100"]),
        ("", "pyrate-put 1 a 100 2 x: 1 40 2 0", "ZRANGE a 0 -1", ["x:1", "x:2"]),
        ("", "pyrate-put 1 a 100 2500 x: 0", "ZCOUNT a 100 100", 2500),
        ("ZADD b 1.5 x 2 y", "channels-put-back 0 a b", "ZRANGE a 0 -1", ["x", "y"]),
        ("ZADD b 1 x 2 y", "channels-put-back 0 a b", "EXISTS b", 0),
        ("ZADD b 1 x 2 y", "channels-group-send 2 a b m1 m2 5 2 100 60", "ZRANGE a 0 -1", ["m1"]),
        ("ZADD b 1 x 2 y", "channels-group-send 2 a b m1 m2 5 3 100 60", "TTL b", 60),
        ("", "kombu-refresh-binding 2 a b m e 60000", "SMEMBERS a", SetReply(["m"])),
        ("", "kombu-refresh-binding 2 a b m e 60000", "ZSCORE b e", NOW_MS + 60_000.0),
        ("ZADD b 9e12 e", "kombu-refresh-binding 2 a b m e 60000", "ZSCORE b e", 9e12),
        ("SADD t.e x", "kombu-sweep-bindings 1 a t. p. 10", "EXISTS t.e", 1),
    ],
)  # fmt: skip
def test_a_script_leaves_the_keys_of_redis(
    before: str, command: str, then: str, reply: Value
) -> None:
    model = Model()
    for each in filter(None, [before]):
        model.ask(*each.split())
    asked(model, command)
    assert model.ask(*then.split()) == reply


def test_each_script_has_a_row() -> None:
    assert {command.split()[0] for _, command, _ in ROWS} == set(TEXTS)


@pytest.mark.parametrize(("kept", "left"), [("p.e", ["x", None]), ("p.g", [None, "x"])])
def test_a_table_ends_unless_a_set_keeps_it(kept: str, left: Value) -> None:
    model = Model()
    model.ask("MSET", "t.e", "x", "t.g", "x", kept, "x")
    model.ask("ZADD", "deadlines", 1, "e", 2, "g")
    assert asked(model, "kombu-sweep-bindings 1 deadlines t. p. 10") == 2
    assert model.ask("MGET", "t.e", "t.g") == left
    assert model.ask("EXISTS", "deadlines") == 0


def test_what_a_failed_script_has_done_stays() -> None:
    """As in Redis; the command that failed has done nothing."""
    model = Model()
    assert isinstance(model.ask("EVAL", COUNT, 1, "n", 1 << 50), Failure)
    assert (model.ask("GET", "n"), model.ask("TTL", "n")) == ("1", -1)


@pytest.mark.parametrize(
    ("call", "problem"),
    [("EVAL x x a", "not an integer"), ("EVAL x 2 a", "greater than"), ("EVAL x 01 a", "not an"),
     ("EVAL x -1 a", "negative"), ("EVALSHA x 1 a", "NOSCRIPT"), ("SCRIPT x", "subcommand")],
)  # fmt: skip
def test_a_wrong_call_in_an_entry_does_nothing(call: str, problem: str) -> None:
    store = Store(is_at_floor=False)
    (failure,) = answers_in(execute(store, f"redis 5 {call}") or "") or []
    assert problem in str(failure)
    assert not store.held


@pytest.mark.parametrize(
    "call",
    [f"limits-moving-window 1 a 5 {1 << 60} 60 {1 << 60}", "pyrate-put 1 a 5 inf x 0",
     "pyrate-put 1 a 5 9999999 x 0"],
)  # fmt: skip
def test_a_script_that_adds_too_much_does_nothing(call: str) -> None:
    store, (name, *words) = Store(is_at_floor=False), call.split()
    reply = execute(store, format_entry(5, [["EVAL", TEXTS[name][0], *words]]))
    assert "use fewer at a time. Nothing was done" in str(reply)
    assert not store.held


def test_calls_are_counted_if_their_keys_are_absent() -> None:
    """Each of these looks for an element 57 times."""
    store = Store(is_at_floor=False)
    execute(store, format_entry(5, [["SCRIPT", "LOAD", TEXTS["limits-moving-window-get"][0]]]))
    call = f"EVALSHA {sha_of(TEXTS['limits-moving-window-get'][0])} 1 a 5 1e17"
    reply = execute(store, f"redis 5 {' ; '.join([call] * REDIS_QUEUED)}")
    assert "use fewer at a time. Nothing was done" in str(reply)


def test_the_keys_of_a_call_are_those_that_it_names() -> None:
    assert keys_in(["EVAL", "x", "2", "a", "b", "c"]) == ["a", "b"]
    assert keys_in(["EVAL", "x", "0", "a"]) == []
    assert keys_in(["EVAL", "x", "9" * 5000, "a"]) == []
    for wrong in ("EVAL x 9 a", "EVAL x -1 a b", "EVAL x ² a b c", "EVAL x 1e0 a b"):
        assert keys_in(wrong.split()) == []


def test_keys_of_a_call_take_the_rights_of_keys() -> None:
    words = ["x", "2", "a", "b", "c"]
    assert list(FUNCTIONS["EVAL"].rights_in(["EVAL", *words])) == [
        ("a", True, True), ("b", True, True)
    ]  # fmt: skip
    assert list(FUNCTIONS["EVAL_RO"].rights_in(["EVAL_RO", *words])) == [
        ("a", True, False), ("b", True, False)
    ]  # fmt: skip


WORDS = st.sampled_from(["a", "b", "me", "0", "1", "9000", "1.5", "x", "-1", "1e300", "nan", ""])
CALLS = st.builds(
    lambda name, count, words: ["EVAL", TEXTS[name][0], str(min(count, len(words))), *words],
    st.sampled_from(sorted(TEXTS)), st.integers(0, 2), st.lists(WORDS, max_size=6),
)  # fmt: skip


@given(st.lists(CALLS, max_size=8))
def test_calls_never_raise_and_lead_to_one_state(calls: list[list[str]]) -> None:
    lines = [format_entry(1000, [call], (), {"own-1-9": 4000}) for call in calls]
    states = []
    for _ in range(2):
        store = Store(is_at_floor=False)
        replies = []
        for line in lines:
            store.number += 1
            replies.append(execute(store, line))
        states.append((dict(store.held), replies))
    assert states[0] == states[1]
    refused = [str(reply) for reply in states[0][1] if not answers_in(str(reply))]
    assert all("make more than" in reply or "lacks-times-of" in reply for reply in refused)
