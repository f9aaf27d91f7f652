"""The scripts of rate limits that one library each sends. Pure."""

from __future__ import annotations

import math
from typing import Final

from ..programs import CommandRefused
from ..replies import NOT_INTEGER
from .lua_values import LuaValue, arithmetic, is_less, number, quotient
from .script_rows import Running, Script


def _rate_limiter_flexible(script: Running) -> LuaValue:
    key, seconds = script.key(1), script.argument(2)
    script.call("SET", key, 0.0, "EX", seconds, "NX")
    consumed = script.call("INCRBY", key, script.argument(1))
    left_ms = script.call("PTTL", key)
    if left_ms == -1:
        script.call("EXPIRE", key, seconds)
        left_ms = 1000 * arithmetic(seconds, "field '?'")
    return [consumed, left_ms]


_RATE_LIMITER_FLEXIBLE: Final = (
    """redis.call('set', KEYS[1], 0, 'EX', ARGV[2], 'NX')
       local consumed = redis.call('incrby', KEYS[1], ARGV[1])
       local ttl = redis.call('pttl', KEYS[1])
       if ttl == -1 then
           redis.call('expire', KEYS[1], ARGV[2])
           ttl = 1000 * ARGV[2]
       end
       return {consumed, ttl}""",
)


def _rate_limit_redis(script: Running) -> LuaValue:
    window_ms, key = number(script.argument(1)), script.key(1)
    left_ms = script.call("PTTL", key)
    if not is_less(0.0, left_ms):
        script.call("SET", key, 1.0, "PX", window_ms)
        return [1.0, window_ms]
    return [script.call("INCR", key), left_ms]


_RATE_LIMIT_REDIS: Final = (
    """local windowMs = tonumber(ARGV[1])
       local timeToExpire = redis.call("PTTL", KEYS[1])
       if timeToExpire <= 0 then
           redis.call("SET", KEYS[1], 1, "PX", windowMs)
           return { 1, windowMs }
       end
       local totalHits = redis.call("INCR", KEYS[1])
       return { totalHits, timeToExpire }""",
)


def _rate_limit_redis_4(script: Running) -> LuaValue:
    key = script.key(1)
    hits = script.call("INCR", key)
    left_ms = script.call("PTTL", key)
    if not is_less(0.0, left_ms) or script.argument(1) == "1":
        left_ms = number(script.argument(2))
        script.call("PEXPIRE", key, left_ms)
    return [hits, left_ms]


_RATE_LIMIT_REDIS_4: Final = (
    """local totalHits = redis.call("INCR", KEYS[1])
       local timeToExpire = redis.call("PTTL", KEYS[1])
       if timeToExpire <= 0 or ARGV[1] == "1" then
           redis.call("PEXPIRE", KEYS[1], tonumber(ARGV[2]))
           timeToExpire = tonumber(ARGV[2])
       end
       return { totalHits, timeToExpire }""",
)


def _rate_limit_redis_get(script: Running) -> LuaValue:
    return [script.call("GET", script.key(1)), script.call("PTTL", script.key(1))]


_RATE_LIMIT_REDIS_GET: Final = (
    """local totalHits = redis.call("GET", KEYS[1])
       local timeToExpire = redis.call("PTTL", KEYS[1])
       return { totalHits, timeToExpire }""",
)

_SAFE_MAX: Final = float((1 << 53) - 1)


def _fastify(script: Running) -> LuaValue:
    key, window_ms = script.key(1), number(script.argument(1))
    most = number(script.argument(2))
    count = script.call("INCR", key)
    if count == 1 or (script.argument(3) == "true" and is_less(most, count)):
        script.call("PEXPIRE", key, window_ms)
        return [count, window_ms]
    if script.argument(4) == "true" and is_less(most, count):
        longer_ms = min(_doubled(window_ms, arithmetic(count) - arithmetic(most) - 1),
                        _SAFE_MAX)  # fmt: skip
        script.call("PEXPIRE", key, longer_ms)
        return [count, longer_ms]
    return [count, script.call("PTTL", key)]


def _doubled(window_ms: LuaValue, times: float) -> float:
    """Return a time that was doubled this often.

    Raises:
        Refused: a part of it would be doubled, which is not a time in milliseconds.
    """
    if times % 1:
        raise CommandRefused(NOT_INTEGER)
    factor = math.ldexp(1.0, min(int(times), 1023))
    return arithmetic(window_ms, "local 'timeWindow'") * factor


_FASTIFY: Final = (
    """local key = KEYS[1]
       local timeWindow = tonumber(ARGV[1])
       local max = tonumber(ARGV[2])
       local continueExceeding = ARGV[3] == 'true'
       local exponentialBackoff = ARGV[4] == 'true'
       local MAX_SAFE_INTEGER = (2^53) - 1
       local current = redis.call('INCR', key)
       if current == 1 or (continueExceeding and current > max) then
           redis.call('PEXPIRE', key, timeWindow)
       elseif exponentialBackoff and current > max then
           local backoffExponent = current - max - 1
           timeWindow = math.min(timeWindow * (2 ^ backoffExponent), MAX_SAFE_INTEGER)
           redis.call('PEXPIRE', key, timeWindow)
       else
           timeWindow = redis.call('PTTL', key)
       end
       return {current, timeWindow}""",
)


def _fastify_read(script: Running) -> LuaValue:
    count = script.call("GET", script.key(1))
    if count is False:
        return [0.0, 0.0]
    left_ms = script.call("PTTL", script.key(1))
    return [number(count), 0.0 if is_less(left_ms, 0.0) else left_ms]


_FASTIFY_READ: Final = (
    """local key = KEYS[1]
       local current = redis.call('GET', key)
       if not current then
           return {0, 0}
       end
       local ttl = redis.call('PTTL', key)
       if ttl < 0 then
           ttl = 0
       end
       return {tonumber(current), ttl}""",
)


# --- limits: the window before and the present one, which is set for twice its time --------------


def _slide(script: Running, expiry_ms: float) -> None:
    """Make the present window the one before if it is over."""
    before, present = script.key(1), script.key(2)
    left_ms = script.call("PTTL", present)
    if is_less(0.0, left_ms) and is_less(left_ms, expiry_ms):
        script.call("RENAME", present, before)
        script.call("SET", present, 0.0, "PX", arithmetic(left_ms) + expiry_ms)


def _sliding(script: Running) -> LuaValue:
    most = number(script.argument(1))
    expiry_ms = arithmetic(number(script.argument(2))) * 1000
    amount = number(script.argument(3))
    if is_less(most, amount):
        return False
    _slide(script, expiry_ms)
    before = number(script.call("GET", script.key(1))) or 0.0
    left_ms = max(arithmetic(script.call("PTTL", script.key(1))), 0.0)
    present = number(script.call("GET", script.key(2))) or 0.0
    weighted = quotient(before * left_ms, expiry_ms) + present
    if is_less(most, weighted + arithmetic(amount, "local 'amount'")):
        return False
    if script.call("EXISTS", script.key(2)) == 1:
        script.call("INCRBY", script.key(2), amount)
    else:
        script.call("SET", script.key(2), amount, "PX", expiry_ms * 2)
    return True


_SLIDING: Final = (
    """local limit = tonumber(ARGV[1])
       local expiry = tonumber(ARGV[2]) * 1000
       local amount = tonumber(ARGV[3])
       if amount > limit then
           return false
       end
       local current_ttl = tonumber(redis.call('pttl', KEYS[2]))
       if current_ttl > 0 and current_ttl < expiry then
           redis.call('rename', KEYS[2], KEYS[1])
           redis.call('set', KEYS[2], 0, 'PX', current_ttl + expiry)
       end
       local previous_count = tonumber(redis.call('get', KEYS[1])) or 0
       local previous_ttl = tonumber(redis.call('pttl', KEYS[1])) or 0
       local current_count = tonumber(redis.call('get', KEYS[2])) or 0
       current_ttl = tonumber(redis.call('pttl', KEYS[2])) or 0
       if previous_ttl <= 0 then
           previous_ttl = 0
       end
       if current_ttl <= 0 then
           current_ttl = 0
       end
       local weighted_count = math.floor(previous_count * previous_ttl / expiry) + current_count
       if (weighted_count + amount) > limit then
           return false
       end
       if redis.call('exists', KEYS[2]) == 1 then
           redis.call('incrby', KEYS[2], amount)
       else
           redis.call('set', KEYS[2], amount, 'PX', expiry * 2)
       end
       return true""",
)


def _sliding_get(script: Running) -> LuaValue:
    expiry_ms = arithmetic(number(script.argument(1))) * 1000
    for key in (script.key(1), script.key(2)):
        script.call("GET", key)
    _slide(script, expiry_ms)
    return [script.call(verb, key) for key in script.keys[:2] for verb in ("GET", "PTTL")]


_SLIDING_GET: Final = (
    """local expiry = tonumber(ARGV[1]) * 1000
       local previous_count = redis.call('get', KEYS[1])
       local previous_ttl = redis.call('pttl', KEYS[1])
       local current_count = redis.call('get', KEYS[2])
       local current_ttl = redis.call('pttl', KEYS[2])
       if current_ttl > 0 and current_ttl < expiry then
           redis.call('rename', KEYS[2], KEYS[1])
           redis.call('set', KEYS[2], 0, 'PX', current_ttl + expiry)
           previous_count = redis.call('get', KEYS[1])
           previous_ttl = redis.call('pttl', KEYS[1])
           current_count = redis.call('get', KEYS[2])
           current_ttl = redis.call('pttl', KEYS[2])
       end
       return {previous_count, previous_ttl, current_count, current_ttl}""",
)


RATE_SCRIPTS: Final = (
    Script("rate-limiter-flexible", "rate-limiter-flexible (npm)", _rate_limiter_flexible,
           _RATE_LIMITER_FLEXIBLE, takes_times=True),
    Script("rate-limit-redis", "rate-limit-redis 6 (npm)", _rate_limit_redis, _RATE_LIMIT_REDIS,
           takes_times=True),
    Script("rate-limit-redis-4", "rate-limit-redis 3 and 4 (npm)", _rate_limit_redis_4,
           _RATE_LIMIT_REDIS_4, takes_times=True),
    Script("rate-limit-redis-get", "rate-limit-redis (npm)", _rate_limit_redis_get,
           _RATE_LIMIT_REDIS_GET, takes_times=True, is_read=True),
    Script("fastify-rate-limit", "@fastify/rate-limit (npm)", _fastify, _FASTIFY,
           takes_times=True),
    Script("fastify-rate-limit-read", "@fastify/rate-limit (npm)", _fastify_read, _FASTIFY_READ,
           takes_times=True, is_read=True),
    Script("limits-sliding-window", "limits, Flask-Limiter", _sliding, _SLIDING, takes_times=True),
    Script("limits-sliding-window-get", "limits, Flask-Limiter", _sliding_get, _SLIDING_GET,
           takes_times=True),
)  # fmt: skip
