"""The scripts of counters that libraries send, and of compare and set. Pure."""

from __future__ import annotations

from itertools import product
from typing import Final

from .lua_values import LuaValue, is_less, number
from .script_rows import Running, Script, in_both_cases

# --- a counter that ends after its first increment -----------------------------------------------


def _incr_expire(script: Running) -> LuaValue:
    return _counted(script, "EXPIRE")


def _incr_pexpire(script: Running) -> LuaValue:
    return _counted(script, "PEXPIRE")


def _counted(script: Running, command: str) -> LuaValue:
    count = script.call("INCR", script.key(1))
    if count == 1:
        script.call(command, script.key(1), script.argument(1))
    return count


def _forms(command: str) -> tuple[str, ...]:
    """Return the usual ways to write such a script, in which only names and marks differ."""
    names = ("c", "cnt", "count", "counter", "current", "hits", "n", "requests", "val", "value")
    firsts = ("local {} = redis.call('incr', KEYS[1]){}",
              "local {0}{1} {0} = redis.call('incr', KEYS[1]){1}")  # fmt: skip
    tests = ("{} == 1", "tonumber({}) == 1")
    ends = (("", "", ""), (";", "", ""), (";", "", ";"), (";", ";", ""), (";", ";", ";"))
    return in_both_cases(
        *(
            f"{first.format(name, mark)} if {test.format(name)} then"
            f" redis.call('{command}', KEYS[1], ARGV[1]){inner} end{end} return {name}"
            for name, first, test, (mark, inner, end) in product(names, firsts, tests, ends)
        )
    )


def _incrby_expire(script: Running) -> LuaValue:
    """limits: the second argument is added, and the first one is the time in seconds."""
    amount = number(script.argument(2))
    count = script.call("INCRBY", script.key(1), amount)
    if count == amount:
        script.call("EXPIRE", script.key(1), script.argument(1))
    return count


_INCRBY_EXPIRE: Final = (
    """local current
       local amount = tonumber(ARGV[2])
       current = redis.call("incrby", KEYS[1], amount)
       if tonumber(current) == amount then
           redis.call("expire", KEYS[1], ARGV[1])
       end
       return current""",
)


def _incrby_pexpire(script: Running) -> LuaValue:
    """cashews: the first argument is added, and the second one is the time in milliseconds."""
    count = script.call("INCRBY", script.key(1), script.argument(1))
    if count == 1:
        script.call("PEXPIRE", script.key(1), script.argument(2))
    return count


_INCRBY_PEXPIRE: Final = (
    """local current_count = redis.call("INCRBY", KEYS[1], ARGV[1])
       if current_count == 1 then
           redis.call("PEXPIRE", KEYS[1], ARGV[2])
       end
       return current_count""",
)


def _incrby_existing(script: Running) -> LuaValue:
    """django-redis: add to a key, unless it is absent."""
    if script.call("EXISTS", script.key(1)) != 1:
        return False
    return _incrby(script)


def _incrby(script: Running) -> LuaValue:
    return script.call("INCRBY", script.key(1), script.argument(1))


_INCRBY_EXISTING: Final = (
    """local exists = redis.call('EXISTS', KEYS[1])
       if (exists == 1) then
           return redis.call('INCRBY', KEYS[1], ARGV[1])
       else return false end""",
)
_INCRBY: Final = ("return redis.call('INCRBY', KEYS[1], ARGV[1])",)


# --- numbers, and compare and set ----------------------------------------------------------------


def _next_id(script: Running) -> LuaValue:
    """Set a larger number."""
    now, new = number(script.call("GET", script.key(1))), number(script.argument(1))
    if now is not None and not is_less(now, new):
        return None
    script.call("SET", script.key(1), new)
    return new


_NEXT_ID: Final = (
    """local curr = tonumber(redis.call('get', KEYS[1]))
       local next = tonumber(ARGV[1])
       if curr == nil or curr < next then
           redis.call('set', KEYS[1], next)
           return next
       else
           return nil
       end""",
)


def _compare_and_set(script: Running) -> LuaValue:
    """Set the first argument in place of the second one; more arguments are the time."""
    if script.call("GET", script.key(1)) != script.argument(2):
        return 0.0
    times = script.arguments[2:] if len(script.arguments) == 4 else []
    return script.call("SET", script.key(1), script.argument(1), *times)


_COMPARE_AND_SET: Final = (
    """if redis.call('get',KEYS[1]) == ARGV[2] then
           if #ARGV == 4 then
               return redis.call('set', KEYS[1], ARGV[1], ARGV[3], ARGV[4])
           else
               return redis.call('set', KEYS[1], ARGV[1])
           end
       else
           return 0
       end""",
)

_OWN: Final = "your own script"
COUNTER_SCRIPTS: Final = (
    Script("incr-expire", f"limits 1, {_OWN}", _incr_expire, _forms("expire")),
    Script("incr-pexpire", _OWN, _incr_pexpire, _forms("pexpire")),
    Script("incrby-expire", "limits, Flask-Limiter, slowapi", _incrby_expire, _INCRBY_EXPIRE),
    Script("incrby-pexpire", "cashews", _incrby_pexpire, _INCRBY_PEXPIRE),
    Script("incrby-existing", "django-redis", _incrby_existing, _INCRBY_EXISTING),
    Script("incrby", "django-redis", _incrby, _INCRBY),
    Script("next-id", "pottery", _next_id, _NEXT_ID),
    Script("compare-and-set", "aiocache", _compare_and_set, _COMPARE_AND_SET),
)  # fmt: skip
