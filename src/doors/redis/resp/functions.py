"""The commands of Redis on keys, one row each: the function, and which of its words are keys. Pure.

Every node applies them alike: a change of what one computes needs a new level of the cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from . import keys, messages, scripts, strings, times
from .programs import in_capitals
from .replies import Value
from .view import Decide, View

READ, WRITE = "readonly", "write"
_ONE: Final = (1, 1, 1)
_ALL: Final = (1, -1, 1)
_PAIRS: Final = (1, -1, 2)
_TWO: Final = (1, 2, 1)
_SHOWING: Final = frozenset(["GET", "NX", "XX", "IFEQ", "IFNE"])  # options of SET


def _always(words: list[str]) -> bool:
    return True


def _never(words: list[str]) -> bool:
    return False


def _script(view: View, words: list[str]) -> Value:
    return scripts.run(view, words, _DECIDE)


class Function(NamedTuple):
    """A command on keys, as a function of a view."""

    name: str
    arity: int  # with the name; negative: at least as many words
    decide: Decide
    flags: str
    spec: tuple[int, int, int] = _ONE  # the first key, the last, and the step between two
    shows: Callable[[list[str]], bool] = _always  # its reply may tell about a value
    takes_times: Callable[[list[str]], bool] = _never  # it depends on the time that a key has left
    find_keys: Callable[[list[str]], list[str]] | None = None  # if no spec tells which they are

    @property
    def is_read(self) -> bool:
        """Whether it changes nothing."""
        return self.flags.startswith(READ)

    def fits(self, count: int) -> bool:
        """Whether the command may have so many words."""
        return count == self.arity or (self.arity < 0 and count >= -self.arity)

    def keys_in(self, words: list[str]) -> list[str]:
        """Return the keys that a command names."""
        if self.find_keys is not None:
            return self.find_keys(words)
        first, last, step = self.spec
        end = last if last >= 0 else len(words) + last
        return words[first : end + 1 : step]

    def rights_in(self, words: list[str]) -> Iterator[tuple[str, bool, bool]]:
        """Yield each key that a command names, whether it may read it, and whether it may change
        it."""
        shows = self.is_read or self.shows(words)
        for place, key in enumerate(self.keys_in(words)):
            is_source = self.name == "COPY" and place == 0
            yield key, shows, not (self.is_read or is_source)


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
    Function("SETNX", 3, strings.setnx, "write fast", shows=_never),
    Function("SETEX", 4, times.setex, WRITE, shows=_never),
    Function("PSETEX", 4, times.setex, WRITE, shows=_never),
    Function("MGET", -2, strings.mget, "readonly fast", _ALL),
    Function("MSET", -3, strings.mset, WRITE, _PAIRS, shows=_never),
    Function("MSETNX", -3, strings.msetnx, WRITE, _PAIRS),
    Function("APPEND", 3, strings.append, "write fast", shows=_never),
    Function("STRLEN", 2, strings.strlen, "readonly fast"),
    Function("GETRANGE", 4, strings.getrange, READ),
    Function("SUBSTR", 4, strings.getrange, READ),
    Function("SETRANGE", 4, strings.setrange, WRITE),
    Function("INCR", 2, strings.incr, "write fast"),
    Function("INCRBY", 3, strings.incr, "write fast"),
    Function("DECR", 2, strings.incr, "write fast"),
    Function("DECRBY", 3, strings.incr, "write fast"),
    Function("INCRBYFLOAT", 3, strings.incrbyfloat, "write fast"),
    Function("DEL", -2, keys.delete, WRITE, _ALL, shows=_never),
    Function("UNLINK", -2, keys.delete, "write fast", _ALL, shows=_never),
    Function("DELEX", -2, keys.delex, "write fast", shows=_has_options),
    Function("EXISTS", -2, keys.exists, "readonly fast", _ALL),
    Function("TOUCH", -2, keys.exists, "readonly fast", _ALL),
    Function("TYPE", 2, keys.type_of, "readonly fast"),
    Function("RENAME", 3, keys.rename, WRITE, _TWO, takes_times=_always),
    Function("RENAMENX", 3, keys.renamenx, "write fast", _TWO, takes_times=_always),
    Function("COPY", -3, keys.copy, WRITE, _TWO, takes_times=_always),
    *(
        Function(name, -3, times.expire, "write fast", shows=_has_options, takes_times=_has_options)
        for name in ("EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT")
    ),
    Function("PERSIST", 2, times.persist, "write fast", shows=_never),
    *(
        Function(name, 2, times.ttl, "readonly fast", takes_times=_always)
        for name in ("TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME")
    ),
    Function(messages.PUBLISH, 3, messages.publish, "pubsub loading stale fast", shows=_never),
    *(
        Function(name, -3, _script, flags, (3, 3, 1), takes_times=scripts.takes_times,
                 find_keys=scripts.keys_in)
        for name, flags in ((scripts.CALL, WRITE), (scripts.CALL_READ, READ))
    ),
)  # fmt: skip
FUNCTIONS: Final = {row.name: row for row in _ROWS}
_DECIDE: Final = {row.name: row.decide for row in _ROWS}  # for scripts
