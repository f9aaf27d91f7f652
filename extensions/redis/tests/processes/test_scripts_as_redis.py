"""Scripts of libraries at a real node, and the same Lua at a Redis next to it."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

import pytest

from raftline.redis.harness.library_scripts import TEXTS
from raftline.redis.harness.raw_redis import Raw, RedisServer, has_redis, redis_beside
from raftline_testing.nodes.cluster import Cluster

pytestmark = pytest.mark.skipif(not has_redis(), reason="needs redis-server 7")
VALUES = (b"me", b"other", b"5", b"x", b"", b"-3", b"5.5", b"9007199254740993", b"9" * 18)
# None is a time that is over in a moment, or of more than 31 years.
ARGUMENTS = (
    b"me", b"me", b"other", b"x", b"", b"0", b"9000", b"60000", b"7000.5", b"-1", b"0x4000",
    b" 5000 ", b"1e4", b"nan", b"inf", b"EX", b"PX", b"NX", b"true", b"5000\0a", b"\xff",
)  # fmt: skip
KEYS = ((b"a",), (b"a",), (b"a", b"b"), (b"a", b"a"), (), (b"absent",))
ROUNDS = 12
TYPED_ROUNDS = 40

# The scripts on types: their keys, and words that each may have after them. None is a number with
# which Redis does not end, and no score is in hexadecimal digits.
LOCK = (("a", "b"), ["me other x", "9000 60000 x 7000.5 0 -1"])
TIMES = "100 99.5 40 1e3 x 1764351306.1234567 nan"
FEW = "1 2 3 0 -1 1.5 x nan"
TYPED = {
    "redis-lock-release": LOCK,
    "redis-lock-extend": LOCK,
    "redis-lock-reset": LOCK,
    "walrus-lock-acquire": LOCK,
    "walrus-lock-release": LOCK,
    "limits-moving-window": (("l",), [TIMES, "3 2 10 x", "60 9000 x", "1 1 1 2 3 10 0 1.5 x nan"]),
    "limits-moving-window-get": (("l",), [TIMES, "3 10 0 x 1e9 nan"]),
    "huey-due": (("z",), [TIMES]),
    "cashews-sliding-window": (("z",), ["40 99 100 x nan", "100 101 99.5 x", FEW, "9000 0 x"]),
    "pyrate-put": (("z",), ["100 101", FEW, "m m:", "1 1 2 0 x", *3 * ["40 99 100 x", FEW, FEW]]),
    "channels-put-back": ((), ["z y a", "z y a"]),
    "channels-group-send": (("z", "y"), ["m1 m", "m2 m", FEW, FEW, "100 101 x", "9000 60 x"]),
    "kombu-refresh-binding": (("s", "w"), ["m n", "e f", "60000 -5 1e13 x nan"]),
    "kombu-sweep-bindings": (("w",), ["t t a", "p p x", "10 10 1 0 -1 x 1.5"]),
}
HELD = (
    "SET a me", "SET a me PX 50000", "SET a other", "RPUSH a x", "RPUSH b 1 2", "SET b x",
    "RPUSH l 99 41 39.5", "RPUSH l 99 98 97 96 40", "RPUSH l x y z", "SET l 5", "SET z 5",
    "ZADD z 99 100 41 a 40 b", "ZADD z 100.5 m:1", "ZADD z 39 a 99 m1", "RPUSH z 1",
    "ZADD y 1 a 2 m2", "ZADD y 1.5 é", "SET y x",
    "ZADD w 1 e 2 g 9e12 f", "ZADD w 1 e", "SADD w x", "SADD s m", "SET s x", "SADD pe x",
    "SADD te x", "SET tg x",
)  # fmt: skip
LEFT = (
    "GET a", "PTTL a", "LRANGE b 0 -1", "PTTL b", "LRANGE l 0 -1", "TTL l",
    "ZRANGE z 0 -1 WITHSCORES", "PTTL z", "ZRANGE y 0 -1 WITHSCORES", "TTL y",
    "ZCARD w", "ZCOUNT w 1e12 8e12", "ZCOUNT w 1e13 inf", "EXISTS te tg pe", "SCARD s",
)  # fmt: skip


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_beside(tmp_path_factory.mktemp("redis")) as server:
        yield server


def alike(one: bytes, other: bytes) -> bool:
    """Whether two replies say the same, though a little time went by between them."""
    parts = [re.split(rb"\r\n:?", each) for each in (one, other)]
    return len(parts[0]) == len(parts[1]) and all(
        mine == others or _is_near(mine, others) for mine, others in zip(*parts, strict=True)
    )


def _is_near(one: bytes, other: bytes) -> bool:
    digits = [each.lstrip(b":") for each in (one, other)]
    if not all([each.isdigit() and len(each) < 9 for each in digits]):
        return False
    mine, others = map(int, digits)
    return min(mine, others) > 1000 and abs(mine - others) < 1000


@pytest.mark.parametrize("version", [b"2", b"3"])
@pytest.mark.parametrize("name", [name for name in TEXTS if name not in TYPED])
def test_a_script_answers_as_in_redis(
    nodes: Cluster, redis_server: RedisServer, name: str, version: bytes
) -> None:
    """With keys that are absent, or hold something else, or end, and any words after them."""
    chance = random.Random(f"{name} {version!r}")
    nodes.wait_until_begun()
    with Raw(redis_server) as other, Raw(nodes["s1"]) as node:
        for each in (other, node):
            each.whole(b"HELLO", version)
            each.whole(b"FLUSHALL")
        for _ in range(ROUNDS):
            commands = [[b"DEL", b"a", b"b", b"absent"]]
            for key in chance.sample([b"a", b"b"], chance.randrange(3)):
                time = chance.choice([[], [b"PX", b"50000"]])
                commands.append([b"SET", key, chance.choice(VALUES), *time])
            for _ in range(2):
                keys = chance.choice(KEYS)
                words = chance.choices(ARGUMENTS, k=chance.randrange(6))
                if chance.random() < 0.5:
                    words[:1] = [b"me"]
                text = chance.choice(TEXTS[name]).encode()
                commands.append([b"EVAL", text, b"%d" % len(keys), *keys, *words])
            commands += [[verb, key] for verb in (b"GET", b"PTTL") for key in (b"a", b"b")]
            for command in commands:
                mine, others = node.whole(*command), other.whole(*command)
                assert alike(mine, others), (commands, command, mine, others)


@pytest.mark.parametrize("version", [b"2", b"3"])
@pytest.mark.parametrize("name", TYPED)
def test_a_script_on_types_answers_as_in_redis(
    nodes: Cluster, redis_server: RedisServer, name: str, version: bytes
) -> None:
    """With keys of each type, and at times fewer words than it needs."""
    chance = random.Random(f"{name} {version!r}")
    nodes.wait_until_begun()
    (text,) = TEXTS[name]
    keys, words = TYPED[name]
    with Raw(redis_server) as other, Raw(nodes["s1"]) as node:
        for each in (other, node):
            each.whole(b"HELLO", version)
        for _ in range(TYPED_ROUNDS):
            commands = [["FLUSHALL"]]
            commands += [each.split() for each in chance.sample(HELD, chance.randrange(6))]
            for _ in range(3):
                few, said = keys, [chance.choice(each.split()) for each in words]
                if chance.random() < 0.1:
                    few = keys[: chance.randrange(len(keys) + 1)]
                if chance.random() < 0.1 and keys:
                    said = said[: chance.randrange(len(said))]
                commands.append(["EVAL", text, str(len(few)), *few, *said])
            for words_ in [*commands, *(each.split() for each in LEFT)]:
                command = [word.encode() for word in words_]
                mine, others = node.whole(*command), other.whole(*command)
                assert alike(mine, others), (commands, command, mine, others)
