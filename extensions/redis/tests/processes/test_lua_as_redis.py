"""Programs in Lua, by the interpreter and by a Redis: the same replies and errors, byte by byte."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any, Final

import pytest

from raftline.redis.harness.raw_redis import Raw, RedisServer, has_redis, redis_beside
from raftline.redis.resp.lua.scripts import run_script
from raftline.redis.tests.lua.lua_programs import Stub, as_bytes, program
from raftline_testing.runner.at_night import at_night

pytestmark = pytest.mark.skipif(not has_redis(), reason="needs redis-server 7")
PROGRAMS: Final = 300
# What may differ: addresses, the sign of what is not a number, and the names of some operands.
ADDRESS: Final = re.compile(rb"(table|function|userdata): 0x[0-9a-f]+")
OPERAND: Final = re.compile(rb"(?:local|field|upvalue|global) '[^']*' \((a \w+ value)\)")


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_beside(tmp_path_factory.mktemp("redis")) as server:
        yield server


def framed_reply(reply: Any) -> bytes:
    """Return a reply as Redis frames it."""
    match reply:
        case None:
            return b"$-1\r\n"
        case int():
            return b":%d\r\n" % reply
        case bytes():
            return b"$%d\r\n%s\r\n" % (len(reply), reply)
        case ("StatusReply", text):
            return b"+%s\r\n" % text
        case ("ErrorReply", text):
            return b"-%s\r\n" % text
    return b"*%d\r\n" % len(reply) + b"".join(map(framed_reply, reply))


def alike(reply: bytes) -> bytes:
    """Return a reply without what may differ."""
    text = OPERAND.sub(rb"\1", ADDRESS.sub(rb"\1", reply)).replace(b"-nan", b"nan")
    return re.sub(rb"\$[0-9]+", b"$", text)


@pytest.mark.parametrize("seed", [1, 2, *at_night(*range(3, 60))])
def test_program_answers_as_in_redis(redis_server: RedisServer, seed: int) -> None:
    chance = random.Random(seed)
    with Raw(redis_server) as other:
        for _ in range(PROGRAMS):
            text = program(chance)
            mine = framed_reply(as_bytes(run_script(Stub(1 << 22), text, [], [])))
            theirs = other.whole(b"EVAL", text.encode(), b"0")
            assert alike(mine) == alike(theirs), text
