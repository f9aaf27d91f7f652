"""The commands of Redis on keys, one row each: the function, and which of its words are keys. Pure.

Every node applies them alike: builds that compute otherwise share no entries with them.
"""

from __future__ import annotations

from typing import Final

from . import keys, messages, scripts, strings, times
from .function_rows import ALL, PAIRS, READ, TWO, WRITE, Function, always, never
from .programs import in_capitals
from .replies import Value
from .types import rows
from .view import View

_SHOWING: Final = frozenset(["GET", "IFEQ", "IFNE"])  # options of SET


def _script(view: View, words: list[str]) -> Value:
    return scripts.run(view, words, FUNCTIONS)


def _no_keys(words: list[str]) -> list[str]:
    return []


def _set_shows(words: list[str]) -> bool:
    return not _SHOWING.isdisjoint(map(in_capitals, words[3:]))


def _has_options(words: list[str]) -> bool:
    return len(words) > 3


_ROWS: Final = (
    Function("GET", 2, lambda view, words: view.get(words[1]), "readonly fast"),
    Function("SET", -3, strings.set_value, WRITE, shows=_set_shows),
    Function("GETSET", 3, strings.getset, "write fast"),
    Function("GETDEL", 2, strings.getdel, "write fast"),
    Function("GETEX", -2, strings.getex, "write fast"),
    Function("SETNX", 3, strings.setnx, "write fast", shows=never),
    Function("SETEX", 4, times.setex, WRITE, shows=never),
    Function("PSETEX", 4, times.setex, WRITE, shows=never),
    Function("MGET", -2, strings.mget, "readonly fast", ALL),
    Function("MSET", -3, strings.mset, WRITE, PAIRS, shows=never),
    Function("MSETNX", -3, strings.msetnx, WRITE, PAIRS, shows=never),
    Function("APPEND", 3, strings.append, "write fast", shows=never),
    Function("STRLEN", 2, strings.strlen, "readonly fast"),
    Function("GETRANGE", 4, strings.getrange, READ),
    Function("SUBSTR", 4, strings.getrange, READ),
    Function("SETRANGE", 4, strings.setrange, WRITE, shows=never),
    Function("INCR", 2, strings.incr, "write fast"),
    Function("INCRBY", 3, strings.incr, "write fast"),
    Function("DECR", 2, strings.incr, "write fast"),
    Function("DECRBY", 3, strings.incr, "write fast"),
    Function("INCRBYFLOAT", 3, strings.incrbyfloat, "write fast"),
    Function("DEL", -2, keys.delete, WRITE, ALL, shows=never),
    Function("UNLINK", -2, keys.delete, "write fast", ALL, shows=never),
    Function("DELEX", -2, keys.delex, "write fast", shows=_has_options),
    Function("EXISTS", -2, keys.exists, "readonly fast", ALL),
    Function("TOUCH", -2, keys.exists, "readonly fast", ALL),
    Function("TYPE", 2, keys.type_of, "readonly fast"),
    Function("RENAME", 3, keys.rename, WRITE, TWO, never, always, moves=0),
    Function("RENAMENX", 3, keys.renamenx, "write fast", TWO, never, always, moves=0),
    Function("COPY", -3, keys.copy, WRITE, TWO, never, always, changes=1),
    *(
        Function(name, -3, times.expire, "write fast", shows=_has_options, takes_times=_has_options)
        for name in ("EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT")
    ),
    Function("PERSIST", 2, times.persist, "write fast", shows=never),
    *(
        Function(name, 2, times.ttl, "readonly fast", takes_times=always)
        for name in ("TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME")
    ),
    Function(messages.PUBLISH, 3, messages.publish, "pubsub loading stale fast", shows=never),
    *(
        Function(name, -3, _script, READ if "_RO" in name else WRITE, (3, 3, 1),
                 takes_times=scripts.takes_times, find_keys=scripts.keys_in, is_entry=True)
        for name in (*scripts.NAMES, *scripts.FREEING_CALLS)
    ),
    Function("SCRIPT", -2, scripts.script, WRITE, (0, 0, 0), find_keys=_no_keys, is_entry=True),
    *rows.ROWS,
    *rows.BLOCKING,
)  # fmt: skip
FUNCTIONS: Final = {row.name: row for row in _ROWS}
