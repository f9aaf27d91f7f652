"""The scripts on sorted sets that libraries send: sliding windows, and queues of messages and
jobs. Pure.
"""

from __future__ import annotations

from itertools import count
from typing import Final

from ..programs import joined
from .lua_values import LuaValue, arithmetic, is_at_most, is_less, number, text_in
from .script_rows import Running, Script


def _cashews(script: Running) -> LuaValue:
    """Count within a window, whose members are times."""
    key, now = script.key(1), script.argument(2)
    script.call("ZREMRANGEBYSCORE", key, 0.0, f"({text_in(script.argument(1))}")
    hits = script.call("ZCOUNT", key, script.argument(1), now)
    if is_less(hits, number(script.argument(3))):
        hits = arithmetic(hits) + 1
        script.call("ZADD", key, now, now)
        if is_less(0.0, number(script.argument(4))):
            script.call("PEXPIRE", key, script.argument(4))
    return hits


_CASHEWS: Final = (
    """redis.call("ZREMRANGEBYSCORE", KEYS[1], 0, "(" .. ARGV[1])
       local current_count = redis.call("ZCOUNT", KEYS[1], ARGV[1], ARGV[2])
       if current_count < tonumber(ARGV[3]) then
           current_count = current_count + 1
           redis.call("ZADD", KEYS[1], ARGV[2], ARGV[2])
           if tonumber(ARGV[4]) > 0 then
               redis.call("PEXPIRE", KEYS[1], ARGV[4])
           end
       end
       return current_count""",
)


# --- pyrate-limiter: several windows of one bucket -----------------------------------------------

_AT_ONCE: Final = 1000  # members of one `ZADD`


def _pyrate(script: Running) -> LuaValue:
    """Add members, unless a rate has no room for them."""
    bucket, now, amount = script.key(1), script.argument(1), number(script.argument(2))
    for turn in script.turns(script.argument(4)):
        begin, most, rank = [number(script.argument(2 + 3 * turn + each)) for each in range(3)]
        hits = script.call("ZCOUNT", bucket, begin, now)
        if is_less(arithmetic(most, "local 'limit'") - arithmetic(hits), amount):
            return [float(turn - 1), _blocking(script, rank)]
    name = text_in(script.argument(3))
    turns = script.turns(amount, now, name)
    for first in turns[::_AT_ONCE]:
        numbers = turns[first - 1 : first - 1 + _AT_ONCE]
        script.call("ZADD", bucket, *[part for each in numbers for part in (now, f"{name}{each}")])
    return [-1.0, -1.0]


def _blocking(script: Running, rank: LuaValue) -> LuaValue:
    """Return the time of the hit with this rank from the newest one, -1 if it is not asked for, or
    there is none."""
    if not is_at_most(0.0, rank):
        return -1.0
    place = -1 - arithmetic(rank)
    found = script.call("ZRANGE", script.key(1), place, place, "WITHSCORES")
    assert isinstance(found, list)
    return number(found[1]) if found else -1.0


_PYRATE: Final = (
    """local bucket = KEYS[1]
       local now = ARGV[1]
       local space_required = tonumber(ARGV[2])
       local item_name = ARGV[3]
       local rates_count = tonumber(ARGV[4])
       for i=1,rates_count do
           local offset = (i - 1) * 3
           local window_start = tonumber(ARGV[5 + offset])
           local limit = tonumber(ARGV[5 + offset + 1])
           local blocking_rank = tonumber(ARGV[5 + offset + 2])
           local count = redis.call('ZCOUNT', bucket, window_start, now)
           local space_available = limit - tonumber(count)
           if space_available < space_required then
               local blocking_timestamp = -1
               if blocking_rank >= 0 then
                   local blocking = redis.call('ZRANGE', bucket, -1 - blocking_rank,
                                               -1 - blocking_rank, 'WITHSCORES')
                   if blocking[2] then
                       blocking_timestamp = tonumber(blocking[2])
                   end
               end
               return {i - 1, blocking_timestamp}
           end
       end
       local batch = {}
       local batch_size = 1000
       for i=1,space_required do
           batch[#batch + 1] = now
           batch[#batch + 1] = item_name..i
           if #batch == batch_size * 2 then
               redis.call('ZADD', bucket, unpack(batch))
               batch = {}
           end
       end
       if #batch > 0 then
           redis.call('ZADD', bucket, unpack(batch))
       end
       return {-1, -1}""",
)


# --- channels_redis: messages by the time of their sending ---------------------------------------


def _put_back(script: Running) -> LuaValue:
    """Move what a receiver had taken, and not confirmed, to its queue again."""
    queue, taken = script.argument(1), script.argument(2)
    found = script.call("ZRANGE", taken, 0.0, -1.0, "WITHSCORES")
    assert isinstance(found, list)
    if found:
        script.call("ZADD", queue, *found[::-1])
    script.call("DEL", taken)
    return None


_PUT_BACK: Final = (
    """local backed_up = redis.call('ZRANGE', ARGV[2], 0, -1, 'WITHSCORES')
       for i = #backed_up, 1, -2 do
           redis.call('ZADD', ARGV[1], backed_up[i], backed_up[i - 1])
       end
       redis.call('DEL', ARGV[2])""",
)


def _group_send(script: Running) -> LuaValue:
    """Put a message into each queue that has room; return how many have none. The arguments are the
    messages, how many each queue holds, the time, and how long a queue stays."""
    size, last, full = len(script.keys), len(script.arguments), 0.0
    for place, key in zip(count(1), script.keys):
        most = number(script.argument(place + size))
        if is_less(script.call("ZCOUNT", key, "-inf", "+inf"), most):
            script.call("ZADD", key, script.argument(last - 1), script.argument(place))
            script.call("EXPIRE", key, script.argument(last))
        else:
            full += 1
    return full


_GROUP_SEND: Final = (
    """local over_capacity = 0
       local current_time = ARGV[#ARGV - 1]
       local expiry = ARGV[#ARGV]
       for i=1,#KEYS do
           if redis.call('ZCOUNT', KEYS[i], '-inf', '+inf') < tonumber(ARGV[i + #KEYS]) then
               redis.call('ZADD', KEYS[i], current_time, ARGV[i])
               redis.call('EXPIRE', KEYS[i], expiry)
           else
               over_capacity = over_capacity + 1
           end
       end
       return over_capacity""",
)


# --- kombu: the table of an exchange ends if no consumer asks for it by its deadline --------------


def _refresh(script: Running) -> LuaValue:
    script.call("SADD", script.key(1), script.argument(1))
    deadline = script.now_ms + arithmetic(number(script.argument(3)))
    script.call("ZADD", script.key(2), "GT", deadline, script.argument(2))
    return None


def _sweep(script: Running) -> LuaValue:
    """Remove tables whose deadline has passed. The arguments are how the keys of tables begin, and
    those of the sets that keep a table, and how many deadlines to look at."""
    deadlines, most = script.key(1), number(script.argument(3))
    found = script.call("ZRANGEBYSCORE", deadlines, "-inf", script.now_ms, "LIMIT", 0.0, most)
    assert isinstance(found, list)
    for exchange in map(text_in, found):
        if script.call("EXISTS", joined(text_in(script.argument(2)), exchange)) == 0:
            script.call("DEL", joined(text_in(script.argument(1)), exchange))
        script.call("ZREM", deadlines, exchange)
    return float(len(found))


_NOW: Final = """
local now = redis.call('TIME')
local ms = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)"""
_REFRESH: Final = (
    f"""redis.call('SADD', KEYS[1], ARGV[1]) {_NOW}
        redis.call('ZADD', KEYS[2], 'GT', ms + tonumber(ARGV[3]), ARGV[2])""",
)
_SWEEP: Final = (
    f"""{_NOW}
        local overdue = redis.call(
            'ZRANGEBYSCORE', KEYS[1], '-inf', ms, 'LIMIT', 0, tonumber(ARGV[3]))
        for _, exchange in ipairs(overdue) do
            if redis.call('EXISTS', ARGV[2] .. exchange) == 0 then
                redis.call('DEL', ARGV[1] .. exchange)
            end
            redis.call('ZREM', KEYS[1], exchange)
        end
        return #overdue""",
)


def _due(script: Running) -> LuaValue:
    """Take the jobs of huey's schedule that are due."""
    now = number(script.argument(1))
    due = script.call("ZRANGEBYSCORE", script.key(1), "-inf", now)
    script.call("ZREMRANGEBYSCORE", script.key(1), "-inf", now)
    return due


_DUE: Final = (
    """local unix_ts = tonumber(ARGV[1])
       local res = redis.call('zrangebyscore', KEYS[1], '-inf', unix_ts)
       if #res and redis.call('zremrangebyscore', KEYS[1], '-inf', unix_ts) == #res then
           return res
       end""",
)

SORTED_SET_SCRIPTS: Final = (
    Script("huey-due", "huey", _due, _DUE),
    Script("cashews-sliding-window", "cashews", _cashews, _CASHEWS),
    Script("pyrate-put", "pyrate-limiter", _pyrate, _PYRATE, grows=2),
    Script("channels-put-back", "channels_redis", _put_back, _PUT_BACK, argument_keys=2),
    Script("channels-group-send", "channels_redis", _group_send, _GROUP_SEND),
    Script("kombu-refresh-binding", "Celery, kombu", _refresh, _REFRESH),
    Script("kombu-sweep-bindings", "Celery, kombu", _sweep, _SWEEP, argument_keys=2),
)  # fmt: skip
