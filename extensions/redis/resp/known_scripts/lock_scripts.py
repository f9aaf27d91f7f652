"""The scripts of locks that libraries send. Pure.

A lock is a key with a time, whose value is the token of its holder.
"""

from __future__ import annotations

from typing import Final

from ..replies import OK, Failure
from .lua_values import LuaValue, arithmetic, is_less
from .script_rows import Running, Script, in_both_cases

_WRONG: Final = Failure("ERR ERROR")  # of `redis.error_reply('ERROR')`


def _holds(script: Running, key: LuaValue) -> bool:
    """Whether a key has the token in the first argument."""
    return script.call("GET", key) == script.argument(1)


def _release(script: Running) -> LuaValue:
    return script.call("DEL", script.key(1)) if _holds(script, script.key(1)) else 0.0


_RELEASE: Final = (
    *in_both_cases(
        """if redis.call('get', KEYS[1]) == ARGV[1] then
               return redis.call('del', KEYS[1])
           else
               return 0
           end""",
        """if redis.call('get', KEYS[1]) == ARGV[1] then
               return redis.call('del', KEYS[1])
           end
           return 0""",
    ),
    """local token = redis.call('get', KEYS[1])
       if not token or token ~= ARGV[1] then
           return 0
       end
       redis.call('del', KEYS[1])
       return 1""",
    """local key = KEYS[1]
       local identifier = ARGV[1]
       if redis.call('get', key) == identifier then
           return redis.call('del', key)
       end
       return 0""",
)


def _renew(script: Running) -> LuaValue:
    """Give the lock the time in the second argument from now on."""
    if not _holds(script, script.key(1)):
        return 0.0
    return script.call("PEXPIRE", script.key(1), script.argument(2))


_RENEW: Final = (
    *in_both_cases(
        """if redis.call('get', KEYS[1]) == ARGV[1] then
               return redis.call('pexpire', KEYS[1], ARGV[2])
           else
               return 0
           end""",
        """if redis.call('get', KEYS[1]) == ARGV[1] then
               return redis.call('pexpire', KEYS[1], ARGV[2])
           end
           return 0""",
    ),
    """local token = redis.call('get', KEYS[1])
       if not token or token ~= ARGV[1] then
           return 0
       end
       redis.call('pexpire', KEYS[1], ARGV[2])
       return 1""",
    """local key = KEYS[1]
       local identifier = ARGV[1]
       local lockTimeout = ARGV[2]
       local value = redis.call('get', key)
       if value == identifier then
           redis.call('pexpire', key, lockTimeout)
           return 1
       end
       return 0""",
)


def _extend(script: Running) -> LuaValue:
    """Add to the time of the lock, unless the third argument asks to replace it."""
    return _extended(script, adds=script.argument(3) == "0")


def _add(script: Running) -> LuaValue:
    return _extended(script, adds=True)


def _extended(script: Running, *, adds: bool) -> LuaValue:
    if not _holds(script, script.key(1)):
        return 0.0
    left_ms = script.call("PTTL", script.key(1))
    if is_less(left_ms, 0.0):
        return 0.0
    time: LuaValue = script.argument(2)
    if adds:
        time = arithmetic(time, "field '?'") + arithmetic(left_ms, "local 'expiration'")
    script.call("PEXPIRE", script.key(1), time)
    return 1.0


_EXTEND: Final = (
    """local token = redis.call('get', KEYS[1])
       if not token or token ~= ARGV[1] then
           return 0
       end
       local expiration = redis.call('pttl', KEYS[1])
       if not expiration then
           expiration = 0
       end
       if expiration < 0 then
           return 0
       end
       local newttl = ARGV[2]
       if ARGV[3] == "0" then
           newttl = ARGV[2] + expiration
       end
       redis.call('pexpire', KEYS[1], newttl)
       return 1""",
)
_ADD: Final = (
    """local token = redis.call('get', KEYS[1])
       if not token or token ~= ARGV[1] then
           return 0
       end
       local expiration = redis.call('pttl', KEYS[1])
       if not expiration then
           expiration = 0
       end
       if expiration < 0 then
           return 0
       end
       redis.call('pexpire', KEYS[1], expiration + ARGV[2])
       return 1""",
)


def _left(script: Running) -> LuaValue:
    """Return the time that the lock has left, 0 if another one holds it."""
    if not _holds(script, script.key(1)):
        return 0.0
    left_ms = script.call("PTTL", script.key(1))
    return left_ms if is_less(0.0, left_ms) else 0.0


_LEFT: Final = (
    """if redis.call('get', KEYS[1]) == ARGV[1] then
           local pttl = redis.call('pttl', KEYS[1])
           return (pttl > 0) and pttl or 0
       else
           return 0
       end""",
)


# --- several keys at once: node-redlock ----------------------------------------------------------


def _acquire_all(script: Running) -> LuaValue:
    if any([script.call("EXISTS", key) == 1 for key in script.keys]):
        return 0.0
    return _set_all(script)


def _set_all(script: Running) -> LuaValue:
    for key in script.keys:
        script.call("SET", key, script.argument(1), "PX", script.argument(2))
    return float(len(script.keys))


def _extend_all(script: Running) -> LuaValue:
    if not all([_holds(script, key) for key in script.keys]):
        return 0.0
    return _set_all(script)


def _release_all(script: Running) -> LuaValue:
    count = 0.0
    for key in script.keys:
        if _holds(script, key):
            script.call("DEL", key)
            count += 1
    return count


_SET_ALL: Final = """
for i, key in ipairs(KEYS) do
    redis.call("set", key, ARGV[1], "PX", ARGV[2])
end
return #KEYS"""
_ACQUIRE_ALL: Final = (
    f"""for i, key in ipairs(KEYS) do
            if redis.call("exists", key) == 1 then
                return 0
            end
        end {_SET_ALL}""",
)
_EXTEND_ALL: Final = (
    f"""for i, key in ipairs(KEYS) do
            if redis.call("get", key) ~= ARGV[1] then
                return 0
            end
        end {_SET_ALL}""",
)
_RELEASE_ALL: Final = (
    """local count = 0
       for i, key in ipairs(KEYS) do
           if redis.call("get", key) == ARGV[1] then
               redis.pcall("del", key)
               count = count + 1
           end
       end
       return count""",
)


# --- aioredlock -----------------------------------------------------------------------------------


def _set(script: Running) -> LuaValue:
    """Take the lock, or renew it."""
    if script.call("GET", script.key(1)) not in (False, script.argument(1)):
        return _WRONG
    return script.call("SET", script.key(1), script.argument(1), "PX", script.argument(2))


def _unset(script: Running) -> LuaValue:
    token = script.call("GET", script.key(1))
    if token is False:
        return OK
    return script.call("DEL", script.key(1)) if token == script.argument(1) else _WRONG


def _ttl(script: Running) -> LuaValue:
    if not _holds(script, script.key(1)):
        return _WRONG
    return script.call("TTL", script.key(1))


_SET: Final = (
    """local identifier = redis.call('get', KEYS[1])
       if not identifier or identifier == ARGV[1] then
           return redis.call("set", KEYS[1], ARGV[1], 'PX', ARGV[2])
       else
           return redis.error_reply('ERROR')
       end""",
)
_UNSET: Final = (
    """local identifier = redis.call('get', KEYS[1])
       if not identifier then
           return redis.status_reply('OK')
       elseif identifier == ARGV[1] then
           return redis.call("del", KEYS[1])
       else
           return redis.error_reply('ERROR')
       end""",
)
_TTL: Final = (
    """local identifier = redis.call('get', KEYS[1])
       if not identifier then
           return redis.error_reply('ERROR')
       elseif identifier == ARGV[1] then
           return redis.call("TTL", KEYS[1])
       else
           return redis.error_reply('ERROR')
       end""",
)

# --- RQ -------------------------------------------------------------------------------------------


def _take(script: Running) -> LuaValue:
    """Take the lock (1), or renew it (2), unless another one has it (0)."""
    key, token, seconds = script.key(1), script.argument(1), script.argument(2)
    value = script.call("GET", key)
    if value is False:
        script.call("SET", key, token, "EX", seconds)
        return 1.0
    if value != token:
        return 0.0
    script.call("EXPIRE", key, seconds)
    return 2.0


_TAKE: Final = (
    """local value = redis.call('GET', KEYS[1])
       if not value then
           redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
           return 1
       elseif value == ARGV[1] then
           redis.call('EXPIRE', KEYS[1], ARGV[2])
           return 2
       end
       return 0""",
)

_REDLOCK: Final = "redlock (npm)"
LOCK_SCRIPTS: Final = (
    Script("lock-release",
           "redis-py, coredis, redlock-py, pottery, aiocache, cashews, redsync,"
           " redis-semaphore (npm), RQ",
           _release, _RELEASE, frees=True),
    Script("lock-renew", "redis-py, pottery, redsync, redis-semaphore (npm)", _renew, _RENEW),
    Script("lock-extend", "redis-py", _extend, _EXTEND, takes_times=True),
    Script("lock-add", "coredis", _add, _ADD, takes_times=True),
    Script("lock-left", "pottery", _left, _LEFT, takes_times=True, is_read=True),
    Script("locks-acquire", _REDLOCK, _acquire_all, _ACQUIRE_ALL),
    Script("locks-extend", _REDLOCK, _extend_all, _EXTEND_ALL),
    Script("locks-release", _REDLOCK, _release_all, _RELEASE_ALL, frees=True),
    Script("lock-set", "aioredlock", _set, _SET),
    Script("lock-unset", "aioredlock", _unset, _UNSET, frees=True),
    Script("lock-ttl", "aioredlock", _ttl, _TTL, takes_times=True, is_read=True),
    Script("lock-take", "RQ", _take, _TAKE),
)  # fmt: skip
