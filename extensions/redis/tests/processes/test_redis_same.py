"""The commands on types next to a Redis 7: random ones, whose replies must be the same."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from raftline.redis.harness.raw_redis import Raw, has_redis, redis_beside
from raftline.redis.resp.replies import format_reply
from raftline.redis.tests.core.redis_model import Model

pytestmark = pytest.mark.skipif(not has_redis(), reason="needs redis-server 7")
COUNT = 2000
# Letters stand for words: a key of a hash, a list, a set, a sorted set, one whose scores are
# equal, a set of either kind, a stream; an element, a number, a score, a bound of scores, one of
# members, a weight, an ID, an end of a range of IDs, a cursor, a count of a scan. `+`: several
# times.
FORMS = [
    "HSET h ee+", "HMSET h ee+", "HSETNX h e e", "HGET h e", "HMGET h e+", "HGETALL h", "HKEYS h",
    "HVALS h", "HLEN h", "HEXISTS h e", "HSTRLEN h e", "HDEL h e+", "HINCRBY h e n",
    "HINCRBYFLOAT h e n", "HSCAN h u [MATCH *a*] COUNT v", "HRANDFIELD h 99 [WITHVALUES] [x]",
    "LPUSH l e+", "RPUSH l e+", "LPUSHX l e+", "RPUSHX l e+", "LPOP l [n] [1]", "RPOP l [n]",
    "LLEN l", "LRANGE l n n", "LINDEX l n", "LSET l n e", "LREM l n e", "LTRIM l n n",
    "RPOPLPUSH l l",
    "LMOVE l l LEFT RIGHT", "LMOVE l l RIGHT LEFT", "LINSERT l BEFORE e e", "LINSERT l AFTER e e",
    "LPOS l e [RANK -1] [COUNT n] [MAXLEN 2]", "BLPOP l l 0.01", "BRPOP l 0.01",
    "SADD s e+", "SREM s e+", "SMEMBERS s", "SISMEMBER s e", "SMISMEMBER s e+", "SCARD s",
    "SMOVE s s e", "SINTER s s [s]", "SUNION s s [s]", "SDIFF s s [s]", "SINTERSTORE s s s",
    "SUNIONSTORE s s s", "SDIFFSTORE s s [s]", "SPOP s 0 [1]", "SRANDMEMBER s 99 [1]",
    "SSCAN s u [MATCH *a*] COUNT v",
    "ZADD z [NX] [XX] [GT] [LT] [CH] [INCR] d e", "ZADD z [CH] de+", "ZINCRBY z d e", "ZREM z e+",
    "ZSCORE z e", "ZMSCORE z e+", "ZCARD z", "ZRANK z e", "ZREVRANK z e", "ZCOUNT z b b",
    "ZRANGE z n n [REV] [WITHSCORES]", "ZRANGE z b b BYSCORE [REV] [LIMIT n n] [WITHSCORES]",
    "ZREVRANGE z n n [WITHSCORES]", "ZRANGEBYSCORE z b b [WITHSCORES] [LIMIT n n]",
    "ZREVRANGEBYSCORE z b b [WITHSCORES] [LIMIT n n]", "ZRANGESTORE z z n n [REV]",
    "ZREMRANGEBYSCORE z b b", "ZREMRANGEBYRANK z n n", "ZPOPMIN z [n]", "ZPOPMAX z [n]",
    "BZPOPMIN z z 0.01", "ZSCAN z u [MATCH *a*] COUNT v", "ZRANDMEMBER z 99 [WITHSCORES] [x]",
    "ZADD y 0 e", "ZREM y e", "ZLEXCOUNT y x x", "ZRANGEBYLEX y x x [LIMIT n n]",
    "ZREVRANGEBYLEX y x x",
    "ZRANGE y x x BYLEX [REV]", "ZREMRANGEBYLEX y x x",
    "LMPOP 2 l l LEFT [COUNT n]", "LMPOP n l RIGHT", "BLMPOP 0.01 1 l LEFT [COUNT n]",
    "SINTERCARD 2 s s [LIMIT n]", "SINTERCARD n s s s", "ZMPOP 2 z z MAX [COUNT n]",
    "BZMPOP 0.01 1 z MIN [COUNT n]", "ZUNION n m m [WITHSCORES]", "ZDIFF 2 m m [WITHSCORES]",
    *(
        f"{name} 2 m m [WEIGHTS w w] {aggregate}"
        for name in ("ZUNION", "ZINTER", "ZUNIONSTORE z", "ZINTERSTORE z")
        for aggregate in ("AGGREGATE MIN", "AGGREGATE MAX", "[AGGREGATE SUM]")
    ),
    "ZINTER 2 m m [WITHSCORES]", "ZINTERCARD n m m [LIMIT n]", "ZDIFFSTORE z 2 m m",
    "XADD t [NOMKSTREAM] [MAXLEN n] i ee", "XADD t [MINID [=] i] i ee+", "XTRIM t MAXLEN [=] n",
    "XADD t MAXLEN ~ 1000 i ee", "XTRIM t MINID i", "XTRIM t MAXLEN n LIMIT n", "XDEL t i+",
    "XLEN t", "XRANGE t q q [COUNT n]", "XREVRANGE t q q [COUNT n]", "XRANGE t - q",
    "XREAD [COUNT n] STREAMS t q", "XREAD [BLOCK 1] STREAMS t t q q", "XREAD BLOCK 1 STREAMS t $",
    "TYPE k", "GET k", "DEL k", "EXISTS k", "RENAME k k", "COPY k k [REPLACE]",
    "SET k e [NX] [GET]", "APPEND k e", "INCR k", "STRLEN k", "GETRANGE k 0 -1", "SETNX k e",
    "GETSET k e", "GETDEL k", "MGET k k", "PERSIST k", "SETRANGE k 2 e", "INCRBYFLOAT k n",
]  # fmt: skip
KEYS = {"h": ["h1", "h2"], "l": ["l1", "l2"], "s": ["s1", "s2", "s3"], "z": ["z1", "z2"],
        "y": ["y1"], "m": ["z1", "z2", "s1"], "t": ["x1", "x2"],
        "k": ["h1", "l1", "s1", "z1", "x1", "text"]}  # fmt: skip
WORDS = {
    "e": ["a", "b", "c", "a b", "", "=", "x=y", "\\", r"\s", "é", "\udcff", "\n", "1", "-3", "1.5"],
    "n": ["0", "1", "-1", "2", "-2", "3", "10", "x"],
    "d": ["1", "2", "-1", "0", "1.5", "2.5e3", "inf", "-inf", "3.1", "0.1", "1e-7", "x"],
    "b": ["-inf", "+inf", "(1", "1", "2", "(2.5e3", "0", "x", "("],
    "w": ["1", "2", "3", "0.5", "x"],
    "i": [
        "1",
        "2-1",
        "2-*",
        "3-*",
        "5-1",
        "7-18446744073709551615",
        "0-0",
        "0-*",
        "8-5",
        "-",
        "x",
        "18446744073709551616",
        "5-5-*",
        "05-1",
        *(f"{time}-*" for time in range(10, 20)),
    ],
    "q": ["-", "+", "1", "(2-1", "(5-1", "3", "8-5", "(", "(0", "12", "15-1", "(16", "x"],
    "u": ["0", "0", "0", "", "x"],
    "v": ["100", "100", "0", "x"],
    "x": ["-", "+", "[a", "(a", "[b", "(c", "x", "[é"],
}
UNORDERED = ("HGETALL", "HKEYS", "HVALS", "SMEMBERS", "SINTER", "SUNION", "SDIFF",
             "SRANDMEMBER", "HRANDFIELD", "ZRANDMEMBER")  # fmt: skip


def command(chance: random.Random) -> list[str]:
    def optional(found: re.Match[str]) -> str:
        return found[1] if chance.random() < 0.3 else ""

    words: list[str] = []
    for part in re.sub(r"\[(.*?)\]", optional, chance.choice(FORMS)).split():
        letters, times = part.rstrip("+"), chance.choice([1, 1, 3, 12]) if "+" in part else 1
        if not set(letters) <= {*KEYS, *WORDS}:
            words.append(part)
            continue
        for letter in letters * times:
            is_other = letter in KEYS and letter != "y" and chance.random() < 0.05
            words.append(chance.choice(KEYS["k"] if is_other else (KEYS | WORDS)[letter]))
    return words


def parts_of(name: str, reply: bytes) -> object:
    """Return a reply, in one order if it has none."""
    if name in UNORDERED or name.endswith("SCAN"):
        return sorted(reply.split(b"\r\n"))
    return reply


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("seed", [1, 2])
def test_random_commands_have_the_replies_of_redis(tmp_path: Path, seed: int, version: int) -> None:
    """Alone, or in a transaction with another command."""
    chance, model = random.Random(seed), Model()
    with redis_beside(tmp_path) as server, Raw(server) as other:
        other.whole(b"HELLO", b"%d" % version)
        for _ in range(COUNT):
            words = command(chance)
            waits = words[0].startswith("B") or "BLOCK" in words
            reply = (model.in_multi if waits or chance.random() < 0.3 else model.ask)(*words)
            found = format_reply(reply, version).encode("utf-8", "surrogateescape")
            said = other.whole(*[word.encode("utf-8", "surrogateescape") for word in words])
            assert parts_of(words[0], found) == parts_of(words[0], said), words
