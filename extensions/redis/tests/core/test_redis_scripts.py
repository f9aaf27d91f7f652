"""Known scripts: what is one, and what it does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftline.common.build_level import LEVEL
from raftline.redis.redis_node import RedisNode
from raftline.redis.resp.entry import answers_in, format_entry
from raftline.redis.resp.functions import FUNCTIONS
from raftline.redis.resp.known_scripts.lua_tokens import tokens_of
from raftline.redis.resp.known_scripts.lua_values import number, quotient, to_reply, word
from raftline.redis.resp.known_scripts.scripts import (
    NO_LUA,
    NO_SCRIPT,
    SCRIPTS,
    keys_in,
    name_of,
    sha_of,
)
from raftline.redis.resp.limits import REDIS_QUEUED, REDIS_SCRIPT_BYTES, REDIS_SCRIPTS
from raftline.redis.resp.replies import Failure, SetReply, Value
from raftline.redis.tests.core.redis_model import NOW_MS, Model
from raftline.state.commands.key_commands import execute
from raftline.state.store import Store
from raftline.wire.operands.operands import Limits
from raftline_testing.runner.at_night import one_each

pytestmark = pytest.mark.pure
PAGE = Path(__file__).parents[4] / "docs" / "use" / "redis.md"
RELEASE = SCRIPTS["lock-release"].texts[0]
COUNT = SCRIPTS["incr-expire"].texts[0]
FEW = [(row.name, text) for row in SCRIPTS.values() for text in row.texts[:4]]
EACH = pytest.mark.parametrize(
    ("name", "text"), one_each(FEW, lambda row: row[0]), ids=lambda part: part[:20]
)


# --- which scripts are known ---------------------------------------------------------------------


def test_each_text_has_one_name() -> None:
    texts = [text for row in SCRIPTS.values() for text in row.texts]
    assert len(set(map(tokens_of, texts))) == len(texts)
    assert all(name_of(text) == row.name for row in SCRIPTS.values() for text in row.texts)
    assert max(map(len, texts)) < REDIS_SCRIPT_BYTES / 2, "there is room for comments"


@EACH
def test_blanks_comments_and_quotes_do_not_matter(name: str, text: str) -> None:
    other = re.sub(r"'(\w*)'", r"[[\1]]", text).replace('"', "'")
    assert name_of(f"--[[ a\nb ]] {other} -- c") == name
    assert name_of(text.replace("\n", "\r\n--[=[ end ]=]\t")) == name


@EACH
def test_a_changed_script_is_unknown(name: str, text: str) -> None:
    """Each token in turn is left out, doubled, and made another one."""
    tokens = re.findall(r'"[^"]*"|[^ ]+', tokens_of(text))
    texts = {tokens_of(each) for row in SCRIPTS.values() for each in row.texts}
    for place, token in enumerate(tokens):
        rest = tokens[place + 1 :]
        for changed in ([], [token, token], [f"{token[:-1]}x{token[-1:]}"], ["2"], ["x"], ["not"]):
            other = " ".join([*tokens[:place], *changed, *rest])
            assert (name_of(other) is None) == (other not in texts), other


@pytest.mark.parametrize(
    ("part", "instead"),
    [("==", "~="), ("ARGV[1]", "ARGV[2]"), ("'del'", "'DEL '"), ("'del'", "'unlink'"),
     ("return 0", "return 1"), ("if", "if not"), ("KEYS[1]) ==", "KEYS[2]) =="), ("else", "elsE"),
     ("ARGV", "argv"), ("return 0", "return --[[ 0 ]] 1"), ("return 0", "return 0--0\n+1"),
     ("call", "pcall"), ("'get'", "'g\\101\\116x'"), ("return 0", "return [[0]]")],
)  # fmt: skip
def test_a_changed_release_of_a_lock_is_unknown(part: str, instead: str) -> None:
    assert part in RELEASE
    assert name_of(RELEASE.replace(part, instead, 1)) is None


@pytest.mark.parametrize(
    "text", ["", "return 1", "x" * (1 << 20), "--[[", "'", RELEASE + " " * REDIS_SCRIPT_BYTES]
)
def test_another_script_is_refused_with_the_reason(text: str) -> None:
    model = Model()
    assert model.ask("EVAL", text, 1, "a", "b") == NO_LUA
    assert model.ask("SCRIPT", "LOAD", text) == NO_LUA
    assert model.ask("EVALSHA", sha_of(text), 1, "a", "b") == NO_SCRIPT
    assert "no Lua" in NO_LUA
    assert "docs/use/redis.md" in NO_LUA


@pytest.mark.parametrize("how", ["EVAL", "SCRIPT"])
def test_evalsha_knows_what_was_loaded_here(how: str) -> None:
    """A node that was started again has forgotten it, and clients send the text then."""
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
    assert model.ask("SCRIPT", "FLUSH") == "OK"
    assert model.ask("EVALSHA", sha, 1, "k", "token") == NO_SCRIPT


def test_the_page_lists_each_script_and_who_sends_it() -> None:
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| [^|]+ \| (.+) \|$", PAGE.read_text("utf-8"), re.M)
    assert rows == [(row.name, row.sent_by) for row in SCRIPTS.values()]


def test_a_node_keeps_so_many_loaded_scripts() -> None:
    """The oldest one goes; its clients send the text again."""
    node = RedisNode(Limits(), lambda: 0.0, lambda count: "0" * 2 * count)
    for number_ in range(REDIS_SCRIPTS + 1):
        node.keep_script(None, str(number_), "incr-expire")
    assert node.script(None, "0") is None
    assert node.script(None, "1") == node.script(None, str(REDIS_SCRIPTS)) == "incr-expire"
    node.forget_scripts(None)
    assert node.script(None, "1") is None


def test_no_user_takes_the_scripts_of_another() -> None:
    """A user who loads spellings without end, or forgets all scripts, loses their own alone."""
    node = RedisNode(Limits(), lambda: 0.0, lambda count: "0" * 2 * count)
    node.keep_script("ann", "a", "incr-expire")
    for number_ in range(2 * REDIS_SCRIPTS):
        node.keep_script("bob", str(number_), "incr-expire")
    assert node.script("ann", "a") == "incr-expire"
    kept = [node.script("bob", str(number_)) for number_ in range(2 * REDIS_SCRIPTS)]
    assert kept == [None] * (REDIS_SCRIPTS + 1) + ["incr-expire"] * (REDIS_SCRIPTS - 1)
    node.forget_scripts("bob")
    assert node.script("bob", str(2 * REDIS_SCRIPTS - 1)) is None
    assert node.script("ann", "a") == "incr-expire"
    for number_ in range(REDIS_SCRIPTS):  # as many users as scripts
        node.keep_script(f"user{number_}", "s", "incr-expire")
    found = [node.script(f"user{number_}", "s") for number_ in range(REDIS_SCRIPTS)]
    assert found.count("incr-expire") + (node.script("ann", "a") is not None) == REDIS_SCRIPTS


def test_a_session_flushes_the_scripts_of_its_user_alone() -> None:
    one, other = Model(), Model()
    other.session.user = lambda: "bob"
    other.context.node = one.context.node
    sha = one.ask("SCRIPT", "LOAD", RELEASE)
    assert other.ask("SCRIPT", "EXISTS", sha) == [0]
    assert other.ask("SCRIPT", "FLUSH") == "OK"
    assert one.ask("SCRIPT", "EXISTS", sha) == [1]


# --- what they do --------------------------------------------------------------------------------


def test_a_script_is_a_line_that_a_person_can_read() -> None:
    model = Model()
    model.ask("EVAL", RELEASE, 1, "job", "5f2c")
    model.ask("EVAL", SCRIPTS["lock-left"].texts[0], 1, "job", "5f2c")
    assert model.lines == [
        f"redis {NOW_MS} FCALL lock-release 1 job 5f2c",
        "stat job", "get job",  # which changes nothing
    ]  # fmt: skip


def test_a_script_gets_the_time_that_a_key_has_left() -> None:
    model = Model()
    model.ask("SET", "job", "me", "PX", 5000)
    assert model.ask("EVAL", SCRIPTS["lock-extend"].texts[0], 1, "job", "me", 3000, 0) == 1
    assert model.lines[-1] == f"redis {NOW_MS} own-1-5=5000 FCALL lock-extend 1 job me 3000 0"
    assert model.ask("PTTL", "job") == 8000


# The commands before, the script with the words after its text, and its reply. They are replies of
# Redis 7.0.15, which test_scripts_as_redis.py compares.
ROWS: list[tuple[str, str, Value]] = [
    ("SET a me", "lock-release 1 a me", 1),
    ("SET a me", "lock-release 1 a you", 0),
    ("SET a me", "lock-release 1 a", 0),
    ("", "lock-release 1 a me", 0),
    ("", "lock-release 0 a me", Failure("ERR Lua redis lib command arguments must be strings or"
                                        " integers script: lock-release")),
    ("SET a me PX 9000", "lock-renew 1 a me 7000", 1),
    ("SET a me", "lock-renew 1 a me -1", 1),
    ("SET a me", "lock-renew 1 a me x",
     Failure("ERR value is not an integer or out of range script: lock-renew")),
    ("SET a me PX 9000", "lock-extend 1 a me 5 0", 1),
    ("SET a me", "lock-extend 1 a me 5 0", 0),
    ("SET a me PX 9000", "lock-extend 1 a me x 0",
     Failure("ERR user_script: attempt to perform arithmetic on field '?' (a string value)"
             " script: lock-extend")),
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
     Failure("ERR value is not an integer or out of range script: lock-take")),
    ("", "incr-expire 1 a 9", 1),
    ("SET a 1", "incr-expire 1 a", 2),
    ("SET a x", "incr-pexpire 1 a 9", Failure("ERR value is not an integer or out of range script:"
                                              " incr-pexpire")),
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
     Failure("ERR user_script: attempt to compare nil with number script: fastify-rate-limit")),
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
     Failure("ERR user_script: attempt to perform arithmetic on a nil value script:"
             " limits-sliding-window")),
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
     Failure("WRONGTYPE Operation against a key holding the wrong kind of value script:"
             " redis-lock-release")),
    ("SET a me PX 9000", "redis-lock-extend 2 a b me 5", 0),
    ("SET a me", "redis-lock-extend 2 a b me 5", 2),
    ("", "redis-lock-extend 2 a b me 5", 1),
    ("SET a you", "redis-lock-reset 2 a b me 9000", 1),
    ("", "walrus-lock-acquire 1 a me 9000", 1),
    ("SET a you", "walrus-lock-acquire 1 a me 9000", 0),
    ("", "walrus-lock-acquire 1 a me x",
     Failure("ERR user_script: attempt to compare number with nil script: walrus-lock-acquire")),
    ("SET a me", "walrus-lock-release 2 a b me", 1),
    ("SET a you", "walrus-lock-release 2 a b me", 0),
    ("", "limits-moving-window 1 a 100 2 60 1", 1),
    ("RPUSH a 99 98", "limits-moving-window 1 a 100 2 60 1", None),
    ("RPUSH a 99 40", "limits-moving-window 1 a 100 2 60 1", None),
    ("RPUSH a 99 39.5", "limits-moving-window 1 a 100 2 60 1", 1),
    ("RPUSH a 99 98", "limits-moving-window 1 a 100 2 60 3", None),
    ("RPUSH a 99 x", "limits-moving-window 1 a 100 2 60 1",
     Failure("ERR user_script: attempt to compare number with nil script: limits-moving-window")),
    ("RPUSH a 99 98", "limits-moving-window 1 a 100 2 x 1",
     Failure("ERR user_script: attempt to perform arithmetic on local 'expiry' (a nil value)"
             " script: limits-moving-window")),
    ("RPUSH a 99 98.25 7", "limits-moving-window-get 1 a 50 3", ["98.25", 2]),
    ("RPUSH a 9 8", "limits-moving-window-get 1 a 50 3", None),
    ("", "limits-moving-window-get 1 a 50 3", None),
    ("RPUSH a 9", "limits-moving-window-get 1 a 50 1e18",
     Failure("ERR value is not an integer or out of range script: limits-moving-window-get")),
    ("", "huey-due 1 a 40", []),
    ("ZADD a 39 x 40.5 y 41 z", "huey-due 1 a 40.5", ["x", "y"]),
    ("", "cashews-sliding-window 1 a 40 100 2 9000", 1),
    ("ZADD a 39 x 40 y", "cashews-sliding-window 1 a 40 100 2 0", 2),
    ("ZADD a 41 x 40 y", "cashews-sliding-window 1 a 40 100 2 0", 2),
    ("", "cashews-sliding-window 1 a",
     Failure("ERR user_script: attempt to concatenate field '?' (a nil value) script:"
             " cashews-sliding-window")),
    ("", "pyrate-put 1 a 100 1 x: 1 40 2 0", [-1, -1]),
    ("ZADD a 41 x 42 y", "pyrate-put 1 a 100 1 x: 2 50 2 0 40 2 1", [1, 41]),
    ("ZADD a 41 x 42 y", "pyrate-put 1 a 100 1 x: 1 40 2 -1", [0, -1]),
    ("ZADD a 41 x 42 y", "pyrate-put 1 a 100 9 x: 1 40 2 5", [0, -1]),
    ("", "pyrate-put 1 a 100 1 x: 1 40",
     Failure("ERR user_script: attempt to perform arithmetic on local 'limit' (a nil value)"
             " script: pyrate-put")),
    ("", "pyrate-put 1 a 100 x",
     Failure("ERR user_script: 'for' limit must be a number script: pyrate-put")),
    ("ZADD b 1.5 x 2 y", "channels-put-back 0 a b", None),
    ("RPUSH b x", "channels-put-back 0 a b",
     Failure("WRONGTYPE Operation against a key holding the wrong kind of value script:"
             " channels-put-back")),
    ("ZADD b 1 x 2 y", "channels-group-send 2 a b m1 m2 5 2 100 60", 1),
    ("", "channels-group-send 1 a m1",
     Failure("ERR user_script: attempt to compare number with nil script: channels-group-send")),
    ("", "kombu-refresh-binding 2 a b m e 60000", None),
    ("", "kombu-refresh-binding 2 a b m e x",
     Failure("ERR user_script: attempt to perform arithmetic on a nil value script:"
             " kombu-refresh-binding")),
    ("ZADD a 1 e 2 g", "kombu-sweep-bindings 1 a t. p. 10", 2),
    ("ZADD a 1 e 2 g", "kombu-sweep-bindings 1 a t. p. 1", 1),
    (f"ZADD a {NOW_MS + 1} e", "kombu-sweep-bindings 1 a t. p. 10", 0),
]  # fmt: skip


def asked(model: Model, command: str) -> Value:
    """Return the reply to a script that is named instead of its text."""
    name, *words = command.split()
    return model.ask("EVAL", SCRIPTS[name].texts[-1], *words)


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
    assert multi.ask("EXEC") == ["OK", reply]


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
    assert {command.split()[0] for _, command, _ in ROWS} == set(SCRIPTS)


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


def test_script_that_only_reads_makes_no_entry() -> None:
    store = Store(level=LEVEL)
    line = format_entry(1, [["FCALL_RO", "lock-release", "1", "a", "b"]])
    (failure,) = answers_in(execute(store, line)) or []
    assert "write flag" in str(failure)


@pytest.mark.parametrize(
    ("call", "problem"),
    [("FCALL nope 1 a", "no script"), ("FCALL incrby x a", "Number of keys"),
     ("FCALL incrby 2 a", "Number of keys"), ("FCALL incrby 01 a 1", "Number of keys"),
     ("FCALL incrby -1 a", "Number of keys")],
)  # fmt: skip
def test_a_wrong_call_in_an_entry_does_nothing(call: str, problem: str) -> None:
    store = Store(level=LEVEL)
    (failure,) = answers_in(execute(store, f"redis 5 {call}")) or []
    assert problem in str(failure)
    assert not store.held


@pytest.mark.parametrize(
    "call",
    [f"limits-moving-window 1 a 5 {1 << 60} 60 {1 << 60}", "pyrate-put 1 a 5 inf x 0",
     "pyrate-put 1 a 5 9999999 x 0"],
)  # fmt: skip
def test_a_script_that_adds_too_much_does_nothing(call: str) -> None:
    store = Store(level=LEVEL)
    reply = execute(store, f"redis 5 FCALL {call}")
    assert reply is not None
    assert "use fewer at a time. Nothing was done" in reply
    assert not store.held


def test_calls_are_counted_if_their_keys_are_absent() -> None:
    """Each of these looks for an element 57 times."""
    store = Store(level=LEVEL)
    call = "FCALL_RO limits-moving-window-get 1 a 5 1e17"
    reply = execute(store, f"redis 5 {' ; '.join([call] * REDIS_QUEUED)}")
    assert reply is not None
    assert "use fewer at a time. Nothing was done" in reply


def test_the_keys_of_a_call_are_those_that_it_names() -> None:
    assert keys_in(["FCALL", "channels-put-back", "0", "a", "b", "c"]) == ["a", "b"]
    assert keys_in(["FCALL", "channels-put-back", "0"]) == []
    assert keys_in(["FCALL", "x", "2", "a", "b", "c"]) == ["a", "b"]
    assert keys_in(["FCALL", "x", "0", "a"]) == []
    assert keys_in(["FCALL", "x", "9" * 5000, "a"]) == []
    for wrong in ("FCALL x 9 a", "FCALL x -1 a b", "FCALL x ² a b c", "FCALL x 1e0 a b"):
        assert keys_in(wrong.split()) == []


def test_keys_in_arguments_take_the_rights_of_keys() -> None:
    words = ["FCALL", "channels-put-back", "0", "a", "b"]
    assert list(FUNCTIONS["FCALL"].rights_in(words)) == [("a", True, True), ("b", True, True)]


WORDS = st.sampled_from(["a", "b", "me", "0", "1", "9000", "1.5", "x", "-1", "1e300", "nan", ""])
CALLS = st.builds(
    lambda name, count, words: ["FCALL", name, str(min(count, len(words))), *words],
    st.sampled_from(sorted(SCRIPTS)), st.integers(0, 2), st.lists(WORDS, max_size=6),
)  # fmt: skip


@given(st.lists(CALLS, max_size=8))
def test_calls_never_raise_and_lead_to_one_state(calls: list[list[str]]) -> None:
    lines = [format_entry(1000, [call], (), {"own-1-9": 4000}) for call in calls]
    states = []
    for _ in range(2):
        store = Store(level=LEVEL)
        replies = []
        for line in lines:
            store.number += 1
            replies.append(execute(store, line))
        states.append((dict(store.held), replies))
    assert states[0] == states[1]
    refused = [reply for reply in states[0][1] if not answers_in(reply)]
    assert all("the commands make more than" in reply for reply in refused)


# --- numbers of Lua ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [("5", 5.0), (" 5 ", 5.0), ("0x10", 16.0), ("-0x1p4", -16.0), ("1e2", 100.0), (".5", 0.5),
     ("5\0x", 5.0), ("1e999", float("inf")), ("-inf", float("-inf")), ("", None), (" ", None),
     ("5x", None), ("1_0", None), ("0x", None), ("١", None), ("--5", None), ("1e", None),
     (f"0x1p{9**9}", float("inf"))],
)  # fmt: skip
def test_tonumber_reads_what_lua_reads(text: str, value: float | None) -> None:
    assert number(text) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [(5.0, "5"), (0.1, "0.10000000000000001"), (1e17, "1e+17"), (-0.0, "-0"),
     (float("nan"), "nan"), (-float("nan"), "-nan"), (float("inf"), "inf")],
)  # fmt: skip
def test_a_number_is_formatted_for_a_command_as_in_redis(value: float, text: str) -> None:
    assert word(value) == text


@pytest.mark.parametrize(
    ("one", "other", "result"),
    [(7.0, 2.0, "3"), (-7.0, 2.0, "-4"), (1.0, 0.0, "inf"), (1.0, -0.0, "-inf"), (0.0, 0.0, "nan"),
     (float("inf"), 2.0, "inf"), (1.0, float("inf"), "0")],
)  # fmt: skip
def test_a_quotient_is_rounded_down_and_may_be_infinite(
    one: float, other: float, result: str
) -> None:
    assert word(quotient(one, other)) == result


def test_a_reply_is_what_redis_makes_of_a_value_of_lua() -> None:
    assert to_reply(["a", 1.9, -1.9, False, True, None, "b"]) == ["a", 1, -1, None, 1]
    assert to_reply(float("nan")) == to_reply(1e300) == -(1 << 63)
