"""The scripts on lists that libraries send: locks that wake who waits, and the times of a moving
window. Pure.
"""

from __future__ import annotations

from math import floor
from typing import Final

from ..programs import CommandRefused
from ..replies import NOT_INTEGER
from .lua_values import LuaValue, arithmetic, is_at_most, is_less, number
from .script_rows import Running, Script

# --- python-redis-lock: KEYS are the lock, and the list at which others wait for its end ----------


def _signal(script: Running) -> LuaValue:
    """Remove the lock, and leave one element for the one that waits."""
    script.call("DEL", script.key(2))
    script.call("LPUSH", script.key(2), 1.0)
    script.call("PEXPIRE", script.key(2), script.argument(2))
    return script.call("DEL", script.key(1))


def _unlock(script: Running) -> LuaValue:
    if script.call("GET", script.key(1)) != script.argument(1):
        return 1.0
    _signal(script)
    return 0.0


def _extend(script: Running) -> LuaValue:
    if script.call("GET", script.key(1)) != script.argument(1):
        return 1.0
    if is_less(script.call("TTL", script.key(1)), 0.0):
        return 2.0
    script.call("EXPIRE", script.key(1), script.argument(2))
    return 0.0


_SIGNAL: Final = """
redis.call('del', KEYS[2])
redis.call('lpush', KEYS[2], 1)
redis.call('pexpire', KEYS[2], ARGV[2])"""
_RESET: Final = (f"{_SIGNAL} return redis.call('del', KEYS[1])",)
_UNLOCK: Final = (
    f"""if redis.call("get", KEYS[1]) ~= ARGV[1] then
            return 1
        else {_SIGNAL}
            redis.call("del", KEYS[1])
            return 0
        end""",
)
_EXTEND: Final = (
    """if redis.call("get", KEYS[1]) ~= ARGV[1] then
           return 1
       elseif redis.call("ttl", KEYS[1]) < 0 then
           return 2
       else
           redis.call("expire", KEYS[1], ARGV[2])
           return 0
       end""",
)


# --- walrus: likewise ----------------------------------------------------------------------------


def _walrus_acquire(script: Running) -> LuaValue:
    left_ms = number(script.argument(2))
    done = script.call("SETNX", script.key(1), script.argument(1))
    if done == 1 and is_less(0.0, left_ms):
        script.call("PEXPIRE", script.key(1), left_ms)
    return done


def _walrus_release(script: Running) -> LuaValue:
    if script.call("GET", script.key(1)) != script.argument(1):
        return 0.0
    script.call("LPUSH", script.key(2), 1.0)
    script.call("LTRIM", script.key(2), 0.0, 0.0)
    return script.call("DEL", script.key(1))


_WALRUS_ACQUIRE: Final = (
    """local key = KEYS[1]
       local lock_id = ARGV[1]
       local ttl = tonumber(ARGV[2])
       local ret = redis.call('setnx', key, lock_id)
       if ret == 1 and ttl > 0 then
         redis.call('pexpire', key, ttl)
       end
       return ret""",
)
_WALRUS_RELEASE: Final = (
    """local key = KEYS[1]
       local event_key = KEYS[2]
       local lock_id = ARGV[1]
       if redis.call("get", key) == lock_id then
         redis.call("lpush", event_key, 1)
         redis.call("ltrim", event_key, 0, 0) -- Trim all but the first item.
         return redis.call("del", key)
       else
         return 0
       end""",
)


# --- limits: the times of the latest hits, the newest first --------------------------------------

_AT_ONCE: Final = 5000  # elements of one `lpush`
_FAR: Final = 2e17  # the middle of a range up to here is written without an exponent


def _acquire(script: Running) -> LuaValue:
    now, most, window_s, amount = [number(script.argument(place)) for place in (1, 2, 3, 4)]
    if is_less(most, amount):
        return False
    last = arithmetic(most) - arithmetic(amount)
    entry = script.call("LINDEX", script.key(1), last)
    if entry is not False:
        begin = arithmetic(now, "local 'timestamp'") - arithmetic(window_s, "local 'expiry'")
        if is_at_most(begin, number(entry)):
            return False
    turns = script.turns(amount if now is not None else 0.0, now)
    for first in turns[::_AT_ONCE]:
        script.call("LPUSH", script.key(1), *([now] * len(turns[first - 1 : first - 1 + _AT_ONCE])))
    script.call("LTRIM", script.key(1), 0.0, arithmetic(most) - 1)
    script.call("EXPIRE", script.key(1), window_s)
    return True


_ACQUIRE: Final = (
    """local timestamp = tonumber(ARGV[1])
       local limit = tonumber(ARGV[2])
       local expiry = tonumber(ARGV[3])
       local amount = tonumber(ARGV[4])
       if amount > limit then
           return false
       end
       local entry = redis.call('lindex', KEYS[1], limit - amount)
       if entry and tonumber(entry) >= timestamp - expiry then
           return false
       end
       local entries = {}
       for i = 1, amount do
           entries[i] = timestamp
       end
       for i=1,#entries,5000 do
           redis.call('lpush', KEYS[1], unpack(entries, i, math.min(i+4999, #entries)))
       end
       redis.call('ltrim', KEYS[1], 0, limit - 1)
       redis.call('expire', KEYS[1], expiry)
       return true""",
)


def _window(script: Running) -> LuaValue:
    """Return the oldest time in the window, and how many there are."""
    begin, size = number(script.argument(1)), number(script.argument(2))
    place = _oldest(script, arithmetic(size, "local 'len'") - 1, begin)
    if place is None:
        return None
    oldest = arithmetic(script.call("LINDEX", script.key(1), place))
    return [f"{oldest:.14g}", place + 1]


def _oldest(script: Running, high: float, begin: LuaValue) -> float | None:
    """Return the place of the last element that is at least `begin`, by halves.

    Raises:
        Refused: the places are beyond those of any list.
    """
    if high >= _FAR:
        raise CommandRefused(NOT_INTEGER)
    low, found = 0.0, None
    while low <= high:
        middle = float(floor((low + high) / 2))
        time = number(script.call("LINDEX", script.key(1), middle))
        if time is not None and is_at_most(begin, time):
            found, low = middle, middle + 1
        else:
            high = middle - 1
    return found


_WINDOW: Final = (
    """local len = tonumber(ARGV[2])
       local expiry = tonumber(ARGV[1])
       local function oldest_entry(high, target)
           local low = 0
           local result = nil
           while low <= high do
               local mid = math.floor((low + high) / 2)
               local val = tonumber(redis.call('lindex', KEYS[1], mid))
               if val and val >= target then
                   result = mid
                   low = mid + 1
               else
                   high = mid - 1
               end
           end
           return result
       end
       local index = oldest_entry(len - 1, expiry)
       if index then
           local count = index + 1
           local oldest = tonumber(redis.call('lindex', KEYS[1], index))
           return {tostring(oldest), count}
       end""",
)

_REDIS_LOCK: Final = "python-redis-lock"
LIST_SCRIPTS: Final = (
    Script("redis-lock-release", _REDIS_LOCK, _unlock, _UNLOCK),
    Script("redis-lock-extend", _REDIS_LOCK, _extend, _EXTEND, takes_times=True),
    Script("redis-lock-reset", _REDIS_LOCK, _signal, _RESET),
    Script("walrus-lock-acquire", "walrus", _walrus_acquire, _WALRUS_ACQUIRE),
    Script("walrus-lock-release", "walrus", _walrus_release, _WALRUS_RELEASE),
    Script("limits-moving-window", "limits, Flask-Limiter", _acquire, _ACQUIRE, grows=4),
    Script("limits-moving-window-get", "limits, Flask-Limiter", _window, _WINDOW, is_read=True),
)  # fmt: skip
