"""Words for each command of Redis on keys, and values of each type that it may meet."""

from __future__ import annotations

import itertools
import random
import re
import string
from collections.abc import Callable, Iterator
from typing import Final

from raftline.redis.harness.library_scripts import TEXTS
from raftline.redis.resp.scripts import FREEING_CALLS, NAMES, sha_of
from raftline.wire.commands.transaction_line import format_word
from raftline.wire.limits import VALUE_BYTES

NINE: Final = "1 2 3 4 5 6 7 8 9"
PAIRS: Final = " ".join(f"1 {each}" for each in NINE.split())
FIELDS: Final = " ".join(f"{each} 1" for each in NINE.split())
# The operands after the keys, for commands of some form; `K` is a key with a value, `J` another.
WORDS: Final = {
    "HSET HMSET": ["K a 2", f"K {FIELDS}"],
    "HSETNX HINCRBY HINCRBYFLOAT": ["K zz 1", "K a 1"],
    "HGET HEXISTS HSTRLEN": ["K zzzzz"],
    "HMGET HDEL": ["K a", "K a b c d e f g h", f"K {NINE}", "K" + " a" * 60],
    "HGETALL HKEYS HVALS HLEN LLEN SCARD ZCARD XLEN SMEMBERS TYPE STRLEN GET GETDEL PERSIST "
    "TTL PTTL EXPIRETIME PEXPIRETIME": ["K"],
    "HRANDFIELD SRANDMEMBER ZRANDMEMBER": [
        "K", "K 100000", "K -1", "K -1000", "K -400000", "K -20000000", "K -67000000",
    ],
    "HSCAN SSCAN ZSCAN": [
        "K 0", "K 0 MATCH zzzzz", "K 0 MATCH *?*?*?*b", "K 0 MATCH *" + "[^a]" * 250,
    ],
    "LPUSH RPUSH LPUSHX RPUSHX SADD SREM ZREM": ["K a", "K a b c d e f g h", f"K {NINE} 10"],
    "LPOP RPOP SPOP ZPOPMIN ZPOPMAX": ["K", "K 100000"],
    "LMOVE": ["K K LEFT RIGHT", "K J LEFT RIGHT"],
    "RPOPLPUSH": ["K K", "K J"],
    "LMPOP": ["1 K LEFT COUNT 100000", "3 K K K RIGHT"],
    "ZMPOP": ["1 K MIN COUNT 100000", "3 K K K MAX"],
    "LRANGE ZRANGE ZREVRANGE LTRIM GETRANGE SUBSTR ZREMRANGEBYRANK": [
        "K 0 0", "K 0 -1", "K 1 -1", "K -1 -1",
    ],
    "LINDEX": ["K -1", "K 0"],
    "LSET": ["K -1 zz", "K 0 zz"],
    "LREM": ["K 1 zz", "K 1 a", "K -1 a", "K 0 a"],
    "LINSERT": ["K BEFORE zz c", "K AFTER a c"],
    "LPOS": ["K zz", "K a RANK -1", "K a COUNT 0 MAXLEN 0"],
    "SISMEMBER": ["K zz"],
    "SMISMEMBER": ["K a", f"K {NINE}"],
    "SMOVE": ["K J a", "K J zz"],
    "SINTER SUNION SDIFF": ["K", "K K", "K" + " J" * 2000, "K K K K"],
    "SINTERSTORE SUNIONSTORE SDIFFSTORE": ["J K K", "J K", "J K" + " I" * 2000],
    "SINTERCARD ZINTERCARD": ["2 K K", "1 K LIMIT 1", "3 K K J"],
    "ZADD": ["K 1 zzzz0", f"K {PAIRS.rpartition(' 1 ')[0]}", f"K {PAIRS}", "K XX 7 a"],
    "ZINCRBY": ["K 1 a"],
    "ZSCORE ZRANK ZREVRANK": ["K a", "K zzzzz"],
    "ZMSCORE": ["K a", f"K {NINE}"],
    "ZCOUNT ZREMRANGEBYSCORE ZRANGEBYSCORE": ["K 1 1", "K (1 2", "K -inf +inf", "K (1 (1"],
    "ZREVRANGEBYSCORE": ["K 1 1 LIMIT 0 0", "K +inf -inf", "K 2 (1"],
    "ZLEXCOUNT ZREMRANGEBYLEX ZRANGEBYLEX": ["K - +", "K [zzzz +", "K - (a"],
    "ZREVRANGEBYLEX": ["K + - LIMIT 0 0", "K + [zzzz"],
    "ZRANGESTORE": ["J K 0 -1", "J K (1 2 BYSCORE", "J K 1 1 BYSCORE LIMIT 0 1", "J K - + BYLEX"],
    "ZUNION ZINTER ZDIFF": ["1 K", "2 K K", "3 K J I", "2 K K WITHSCORES"],
    "ZUNIONSTORE ZINTERSTORE ZDIFFSTORE": ["J 1 K", "J 2 K K", "J 3 K J I"],
    "XADD": ["K * a 1", "K MAXLEN 5 * a 1", "K MINID 0 * a 1", "K MINID 1-5000 * a 1"],
    "XTRIM": ["K MAXLEN 5", "K MAXLEN 10000000", "K MINID 0", "K MINID 1-5000"],
    "XDEL": ["K 5-5", "K 1-5"],
    "XRANGE": ["K 5 5", "K - +", "K - + COUNT 1"],
    "XREVRANGE": ["K 5 5", "K + -", "K + - COUNT 1"],
    "XREAD": ["STREAMS K 9-9", "STREAMS K 0", "COUNT 1 STREAMS K 0", "STREAMS K K K 0 0 9-9"],
    "BLPOP BRPOP BZPOPMIN BZPOPMAX": ["K 0", "J I K 0"],
    "BLMPOP": ["0 1 K LEFT COUNT 100000"],
    "BZMPOP": ["0 1 K MIN COUNT 100000"],
    "BLMOVE": ["K J LEFT LEFT 0"],
    "BRPOPLPUSH": ["K J 0"],
    "SET": ["K x", "K x XX GET", "K x IFEQ y"],
    "GETSET SETNX APPEND": ["K x"],
    "GETEX": ["K", "K EX 100"],
    "SETEX PSETEX": ["K 100 x"],
    "MGET EXISTS TOUCH DEL UNLINK": ["K", "K" + " K" * 200],
    "MSET MSETNX": ["K x", "J x I y"],
    "SETRANGE": ["K 0 x", "K 1000000 x"],
    "INCR": ["K"],
    "INCRBY DECRBY INCRBYFLOAT": ["K 1"],
    "DECR": ["K"],
    "DELEX": ["K", "K IFEQ z"],
    "RENAME RENAMENX": ["K J"],
    "COPY": ["K J REPLACE"],
    "EXPIRE PEXPIRE EXPIREAT PEXPIREAT": ["K 100000"],
    "PUBLISH": ["K x"],
    "SCRIPT": ["EXISTS x", "FLUSH", "LOAD return", f"LOAD --{'x' * 30_000}"],
}  # fmt: skip

_CALLS: Final = 4  # of each script
_NUMBERS: Final = ("0", "1", "-1", "5", "1000", "400000", "20000000")
_ARGUMENTS: Final = (*_NUMBERS, "K", "x", "x" * 800, "-inf", "(1", "1e300", "true", "x" * 10_000)


def words_of(name: str) -> list[str]:
    """Return the operands of a command. Those of a script are drawn by its name: as many as its
    text asks for, and many where it has a loop over them."""
    if name not in (*NAMES, *FREEING_CALLS):
        return [words for names, some in WORDS.items() if name in names.split() for words in some]
    if name != "EVAL":
        return [f"{sha_of(READS) if 'SHA' in name else format_word(READS)} 1 K"]
    calls = [call for each in TEXTS for call in _calls(each, random.Random(each))]
    return [*calls, *(f"{format_word(text)} 1 K" for text in LOOPS)]


READS: Final = "return redis.call('get', KEYS[1])"  # a script that the store has
# Programs that use a value in each way that costs something.
LOOPS: Final = tuple(
    f"local s = redis.call('get', KEYS[1]) or 'x' {program}"
    for program in (
        "for i = 1, 1e5 do local x = i * 2 + 1 end",
        "local t = {} for i = 1, 1e4 do t[i] = tostring(i) end return table.concat(t, ',')",
        "local t = {} for i = 1, 3e4 do t['k' .. i] = {i} end for k, v in pairs(t) do v[2] = k end",
        "for i = 1, 50 do local x = s .. i end",
        "for i = 1, 200 do local x = s == s .. '' end",
        "for i = 1, 20 do s:find('zzz', 1, true) s:upper() s:reverse() end",
        "return {s:find('(.-)(.-)b')}",
        "return select(2, s:gsub('%w', '%0%0'))",
        "return select(2, s:gsub('%w', function(x) return x end))",
        "for x in s:gmatch('.') do local y = x end",
        "return cjson.encode({s, {s}, {a = s}})",
        "return #cjson.decode('[' .. ('1,'):rep(3e4) .. '1]')",
        "local t = {} for i = 1, 1e4 do t[i] = (i * 7919) % 10007 end table.sort(t)",
        "local t = {} for i = 1, 2e3 do t[i] = (i * 7919) % 10007 end"
        " table.sort(t, function(a, b) return a > b end)",
        "local t = {} for i = 1, 3e3 do table.insert(t, 1, i) end",
        "for i = 1, 2e3 do pcall(error, 'x') end",
        "local function f(n) return n < 2 and n or f(n - 1) + f(n - 2) end return f(17)",
        "for i = 1, 3e3 do string.format('%5d %s %q', i, 'a', 'b') end",
        "for i = 1, 500 do redis.call('set', 'other', i) redis.call('get', 'other') end",
        "for i = 1, 10 do redis.sha1hex(s) end",
        "local t = {} for i = 1, 5000 do t[i] = i end for i = 1, 50 do select('#', unpack(t)) end",
        "local t = {} for i = 1, 3e4 do t[i] = function() return i end end",
        "while true do end",
    )
)


def _calls(name: str, chance: random.Random) -> Iterator[str]:
    text = TEXTS[name][0]
    of_keys, of_arguments = [
        max(map(int, re.findall(rf"{what}\[(\d+)", text)), default=1) for what in ("KEYS", "ARGV")
    ]
    for place in range(_CALLS):
        is_long = place == 0 and re.search(r"#KEYS|ipairs\(KEYS|ARGV\[\d+ \+", text) is not None
        keys = chance.choices("KKKJ", k=2000 if is_long and "#KEYS" in text else of_keys)
        words = _NUMBERS if place % 2 else _ARGUMENTS
        arguments = chance.choices(words, k=6004 if is_long else of_arguments)
        yield " ".join([format_word(text), str(len(keys)), *keys, *arguments])


def _names() -> Iterator[str]:
    for size in itertools.count(1):
        yield from map("".join, itertools.product(string.ascii_lowercase + "5", repeat=size))


def _filled(begin: str, words: Iterator[str], size: int) -> str:
    """Return a value of this size with as many elements as fit."""
    found, left = [begin], size - len(begin)
    for word in words:
        left -= 1 + len(word)
        if left < 0:
            break
        found.append(word)
    return " ".join(found)


SHORT: Final = 32 << 10  # bytes of a value whose walk takes seconds
LONG: Final = VALUE_BYTES - (1 << 10)
VALUES: Final[dict[str, Callable[[int], str]]] = {
    "text": lambda size: "x" * size,
    "wide text": lambda size: "é" * (size // 2),
    "number": lambda size: "7",
    "short elements": lambda size: _filled(r"\slist", itertools.repeat("a"), size),
    "escaped elements": lambda size: _filled(r"\slist", itertools.repeat(r"\x01"), size),
    "one element": lambda size: rf"\slist {'x' * size}",
    "set": lambda size: _filled(r"\sset", _names(), size),
    "escaped set": lambda size: _filled(r"\sset", (rf"\x01{each}" for each in _names()), size),
    "escaped set of one": lambda size: rf"\sset \x01{'x' * (size - 4)}",
    "set of one": lambda size: rf"\sset {'x' * size}",
    "hash": lambda size: _filled(r"\shash", (f"{each}=1" for each in _names()), size),
    "escaped hash": lambda size: _filled(
        r"\shash", (rf"{each}\x01=\x01" for each in _names()), size
    ),
    "escaped hash of one": lambda size: rf"\shash a=\x01{'x' * (size - 4)}",
    "hash of one": lambda size: rf"\shash a={'x' * size}",
    "equal scores": lambda size: _filled(
        r"\szset", iter(sorted(f"1={each}" for each in itertools.islice(_names(), size // 7))), size
    ),
    "scores": lambda size: _filled(r"\szset", (f"{at}={at}" for at in itertools.count()), size),
    "escaped scores": lambda size: _filled(
        r"\szset", (rf"{at}=\x01{at}" for at in itertools.count()), size
    ),
    "sorted set of one": lambda size: rf"\szset 1={'x' * size}",
    "stream": lambda size: _filled(
        r"\sstream 9-9", (f"1-{at}:a=" for at in itertools.count(1)), size
    ),
    "entry of many": lambda size: r"\sstream 9-9 1-1:" + ",".join(["a="] * (size // 4)),
}
