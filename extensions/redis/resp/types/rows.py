"""The rows of the commands on hashes, lists, sets, sorted sets and streams. Pure."""

from __future__ import annotations

import re
from typing import Final

from ..function_rows import ALL, READ, TWO, WRITE, Function, never
from . import combined_scores, hashes, lists, sets, sorted_ranges, sorted_sets, streams
from .counted_keys import keys_after

_FAST = "write fast"
_SEEN = "readonly fast"
_MOVABLE = "movablekeys"
_NO_SPEC: Final = (0, 0, 0)
_COUNTED: Final = keys_after(1)
_STORED: Final = keys_after(2, stores=True)
_TIMED: Final = keys_after(2)

ROWS: Final = (
    Function("HSET", -4, hashes.hset, _FAST),
    Function("HMSET", -4, hashes.hmset, _FAST, shows=never),
    Function("HSETNX", 4, hashes.hsetnx, _FAST),
    Function("HGET", 3, hashes.hget, _SEEN),
    Function("HMGET", -3, hashes.hmget, _SEEN),
    Function("HGETALL", 2, hashes.hgetall, READ),
    Function("HKEYS", 2, hashes.hkeys, READ),
    Function("HVALS", 2, hashes.hvals, READ),
    Function("HLEN", 2, hashes.hlen, _SEEN),
    Function("HEXISTS", 3, hashes.hexists, _SEEN),
    Function("HSTRLEN", 3, hashes.hstrlen, _SEEN),
    Function("HDEL", -3, hashes.hdel, _FAST),
    Function("HINCRBY", 4, hashes.hincrby, _FAST),
    Function("HINCRBYFLOAT", 4, hashes.hincrbyfloat, _FAST),
    Function("HRANDFIELD", -2, hashes.hrandfield, READ),
    Function("HSCAN", -3, hashes.hscan, READ),
    Function("LPUSH", -3, lists.push, _FAST, shows=never),
    Function("RPUSH", -3, lists.push, _FAST, shows=never),
    Function("LPUSHX", -3, lists.pushx, _FAST, shows=never),
    Function("RPUSHX", -3, lists.pushx, _FAST, shows=never),
    Function("LPOP", -2, lists.pop, _FAST),
    Function("RPOP", -2, lists.pop, _FAST),
    Function("LMOVE", 5, lists.move, WRITE, TWO, shows=never, moves=0),
    Function("RPOPLPUSH", 3, lists.move, WRITE, TWO, shows=never, moves=0),
    Function("LMPOP", -4, lists.pop_some, f"{WRITE} {_MOVABLE}", _NO_SPEC, find_keys=_COUNTED),
    Function("LLEN", 2, lists.llen, _SEEN),
    Function("LRANGE", 4, lists.lrange, READ),
    Function("LINDEX", 3, lists.lindex, READ),
    Function("LSET", 4, lists.lset, WRITE, shows=never),
    Function("LREM", 4, lists.lrem, WRITE),
    Function("LTRIM", 4, lists.ltrim, WRITE, shows=never),
    Function("LINSERT", 5, lists.linsert, WRITE),
    Function("LPOS", -3, lists.lpos, READ),
    Function("SADD", -3, sets.sadd, _FAST),
    Function("SREM", -3, sets.srem, _FAST),
    Function("SMEMBERS", 2, sets.smembers, READ),
    Function("SISMEMBER", 3, sets.sismember, _SEEN),
    Function("SMISMEMBER", -3, sets.smismember, _SEEN),
    Function("SCARD", 2, sets.scard, _SEEN),
    Function("SPOP", -2, sets.spop, _FAST),
    Function("SRANDMEMBER", -2, sets.srandmember, READ),
    Function("SMOVE", 4, sets.smove, _FAST, TWO, shows=never, moves=0),
    Function("SINTER", -2, sets.combine, READ, ALL),
    Function("SUNION", -2, sets.combine, READ, ALL),
    Function("SDIFF", -2, sets.combine, READ, ALL),
    Function("SINTERSTORE", -3, sets.combine_into, WRITE, ALL, shows=never, changes=0),
    Function("SUNIONSTORE", -3, sets.combine_into, WRITE, ALL, shows=never, changes=0),
    Function("SDIFFSTORE", -3, sets.combine_into, WRITE, ALL, shows=never, changes=0),
    Function("SINTERCARD", -3, sets.sintercard, f"{READ} {_MOVABLE}", _NO_SPEC, find_keys=_COUNTED),
    Function("SSCAN", -3, sets.sscan, READ),
    Function("ZADD", -4, sorted_sets.zadd, _FAST),
    Function("ZINCRBY", 4, sorted_sets.zincrby, _FAST),
    Function("ZREM", -3, sorted_sets.zrem, _FAST),
    Function("ZSCORE", 3, sorted_sets.zscore, _SEEN),
    Function("ZMSCORE", -3, sorted_sets.zmscore, _SEEN),
    Function("ZCARD", 2, sorted_sets.zcard, _SEEN),
    Function("ZRANK", 3, sorted_sets.zrank, _SEEN),
    Function("ZREVRANK", 3, sorted_sets.zrank, _SEEN),
    Function("ZCOUNT", 4, sorted_ranges.zcount, _SEEN),
    Function("ZLEXCOUNT", 4, sorted_ranges.zlexcount, _SEEN),
    Function("ZRANGE", -4, sorted_ranges.zrange, READ),
    Function("ZREVRANGE", -4, sorted_ranges.zrevrange, READ),
    Function("ZRANGEBYSCORE", -4, sorted_ranges.zrangebyscore, READ),
    Function("ZREVRANGEBYSCORE", -4, sorted_ranges.zrangebyscore, READ),
    Function("ZRANGEBYLEX", -4, sorted_ranges.zrangebylex, READ),
    Function("ZREVRANGEBYLEX", -4, sorted_ranges.zrangebylex, READ),
    Function("ZRANGESTORE", -5, sorted_ranges.zrangestore, WRITE, TWO, shows=never, changes=0),
    Function("ZREMRANGEBYSCORE", 4, sorted_ranges.zremrangebyscore, WRITE),
    Function("ZREMRANGEBYRANK", 4, sorted_ranges.zremrangebyrank, WRITE, shows=never),
    Function("ZREMRANGEBYLEX", 4, sorted_ranges.zremrangebylex, WRITE),
    Function("ZPOPMIN", -2, sorted_sets.zpop, _FAST),
    Function("ZPOPMAX", -2, sorted_sets.zpop, _FAST),
    Function("ZMPOP", -4, sorted_sets.pop_some, f"{WRITE} {_MOVABLE}", _NO_SPEC,
             find_keys=_COUNTED),
    *(
        Function(name, -3, combined_scores.combine, f"{READ} {_MOVABLE}", _NO_SPEC,
                 find_keys=_COUNTED)
        for name in ("ZUNION", "ZINTER", "ZDIFF")
    ),
    *(
        Function(f"{name}STORE", -4, combined_scores.combine_into, f"{WRITE} {_MOVABLE}",
                 shows=never, changes=0, find_keys=_STORED)
        for name in ("ZUNION", "ZINTER", "ZDIFF")
    ),
    Function("ZINTERCARD", -3, combined_scores.count_common, f"{READ} {_MOVABLE}", _NO_SPEC,
             find_keys=_COUNTED),
    Function("ZRANDMEMBER", -2, sorted_sets.zrandmember, READ),
    Function("ZSCAN", -3, sorted_sets.zscan, READ),
    Function("XADD", -5, streams.xadd, _FAST, shows=never),
    Function("XTRIM", -4, streams.xtrim, WRITE),
    Function("XDEL", -3, streams.xdel, _FAST),
    Function("XLEN", 2, streams.xlen, _SEEN),
    Function("XRANGE", -4, streams.xrange, READ),
    Function("XREVRANGE", -4, streams.xrange, READ),
)  # fmt: skip

# Reads that find one element, or count all, by a search in the text: many may go in one batch.
OF_ONE_ELEMENT: Final = frozenset([
    "HEXISTS", "HGET", "HLEN", "HSTRLEN", "LLEN", "SCARD", "SISMEMBER", "XLEN", "ZCARD", "ZRANK",
    "ZREVRANK", "ZSCORE",
])  # fmt: skip
_BUT_LAST: Final = (1, -2, 1)
BLOCKING: Final = (
    Function("BLPOP", -3, lists.pop_first, WRITE, _BUT_LAST),
    Function("BRPOP", -3, lists.pop_first, WRITE, _BUT_LAST),
    Function("BLMPOP", -5, lists.pop_some, f"{WRITE} {_MOVABLE}", _NO_SPEC, find_keys=_TIMED),
    Function("BLMOVE", 6, lists.move, WRITE, TWO, shows=never, moves=0),
    Function("BRPOPLPUSH", 4, lists.move, WRITE, TWO, shows=never, moves=0),
    Function("BZPOPMIN", -3, sorted_sets.pop_first, _FAST, _BUT_LAST),
    Function("BZPOPMAX", -3, sorted_sets.pop_first, _FAST, _BUT_LAST),
    Function("BZMPOP", -5, sorted_sets.pop_some, f"{WRITE} {_MOVABLE}", _NO_SPEC,
             find_keys=_TIMED),
    Function("XREAD", -4, streams.xread, f"{READ} {_MOVABLE}", _NO_SPEC,
             find_keys=streams.keys_read),
)  # fmt: skip
# These look at each element, and so does a command with many words.
_LONG: Final = re.compile(
    "SCAN|LEX|ALL|KEYS|VALS|RAND|UNION|INTER|DIFF|XRANGE|XREVRANGE|XREAD|XTRIM"
)
LONG: Final = frozenset(row.name for row in (*ROWS, *BLOCKING) if _LONG.search(row.name))
