"""A script of Redis from its text to its reply: `redis.*`, and the errors in its words. Pure."""

from __future__ import annotations

import hashlib
import sys
from functools import lru_cache
from typing import Any, Final

from .formats import FORMATS
from .library import LIBRARIES, Function, library, text_at, text_of
from .machine import Proto
from .reader import script_of
from .values import DEPTH, LuaError, ScriptHost, ScriptRun, SyntaxFault, Table

_REPLY_DEPTH: Final = 60  # tables of a reply within each other
_LONG: Final = 1 << 63
FEW_ARGUMENTS: Final = "ERR Please specify at least one argument for this redis lib call"
NOT_WORDS: Final = "ERR Lua redis lib command arguments must be strings or integers"

# The frames of Python are counted, so that each node ends a deep recursion at the same place.
sys.setrecursionlimit(max(sys.getrecursionlimit(), 2 * DEPTH))


class StatusReply(str):
    """A status, such as `OK`, in the reply of a script."""

    __slots__ = ()


class ErrorReply(str):
    """An error in the reply of a script."""

    __slots__ = ()


def error_table(text: str) -> Table:
    """Return an error as a script sees it."""
    return Table(fields={"err": text})


def _words(given: list[Any]) -> list[str] | None:
    words = [f"{each:.17g}" if type(each) is float else each for each in given]
    return words if all([type(word) is str for word in words]) else None


def _answer(run: ScriptRun, given: list[Any]) -> Any:
    """Return the reply to `redis.call`; an error is a table."""
    run.spend(8 + 2 * len(given))
    words = _words(given)
    if not words:
        return error_table(FEW_ARGUMENTS if words is not None else NOT_WORDS)
    run.spend(sum(map(len, words)) >> 7)
    return run.host.call(run, words)


def _call(run: ScriptRun, given: list[Any]) -> list[Any]:
    found = _answer(run, given)
    if type(found) is Table and "err" in found.hash:
        raise LuaError(found, run.line)
    return [found]


def _pcall(run: ScriptRun, given: list[Any]) -> list[Any]:
    return [_answer(run, given)]


def _reply_of(field: str) -> Function:
    def reply(run: ScriptRun, given: list[Any]) -> list[Any]:
        if len(given) != 1 or type(given[0]) is not str:
            return [error_table("ERR wrong number or type of arguments")]
        text = given[0]
        if field == "err":
            text = text.removeprefix("-")
            text = text if " " in text else f"ERR {text}"
        return [Table(fields={field: text})]

    return reply


def _sha1hex(run: ScriptRun, given: list[Any]) -> list[Any]:
    if len(given) != 1:
        raise LuaError(error_table("ERR wrong number of arguments"), run.line)
    text = text_at(run, given, 1, "sha1hex")
    run.spend(8)
    run.spend_bytes(4 * len(text))
    return [hashlib.sha1(text.encode("latin-1"), usedforsecurity=False).hexdigest()]


def _nothing(run: ScriptRun, given: list[Any]) -> list[Any]:
    return []


def _always(run: ScriptRun, given: list[Any]) -> list[Any]:
    return [True]


_REDIS: Final[dict[str, Any]] = {
    "call": _call, "pcall": _pcall, "error_reply": _reply_of("err"),
    "status_reply": _reply_of("ok"), "sha1hex": _sha1hex, "log": _nothing, "setresp": _nothing,
    "set_repl": _nothing, "replicate_commands": _always, "breakpoint": _nothing, "debug": _nothing,
    "LOG_DEBUG": 0.0, "LOG_VERBOSE": 1.0, "LOG_NOTICE": 2.0, "LOG_WARNING": 3.0,
    "REPL_NONE": 0.0, "REPL_SLAVE": 1.0, "REPL_REPLICA": 1.0, "REPL_AOF": 2.0, "REPL_ALL": 3.0,
    "REDIS_VERSION": "7.0.15", "REDIS_VERSION_NUM": 458767.0,
}  # fmt: skip
GLOBALS: Final[dict[Any, Any]] = {**LIBRARIES, **FORMATS, "redis": library(_REDIS)}
GLOBALS["server"] = GLOBALS["redis"]
_G: Final = Table(fields=GLOBALS)
_G.is_fixed = True


class Script:
    """A text that was read: ready to run, or with the problem in it."""

    __slots__ = ("is_short", "problem", "proto", "sha")

    def __init__(self, text: str) -> None:
        self.sha = hashlib.sha1(text.encode("latin-1"), usedforsecurity=False).hexdigest()
        self.proto, self.problem = Proto(), ""
        self.is_short = False  # it has no loop, and calls little but commands
        try:
            self.proto, self.is_short = script_of(text)
        except SyntaxFault as fault:
            self.problem = f"ERR Error compiling script (new function): {fault}"


# The scripts that were read last, by the length of their texts: a script takes thirty times the
# memory of its text.
_READ: Final = [
    (2 << 10, lru_cache(maxsize=512)(Script)),
    (16 << 10, lru_cache(maxsize=96)(Script)),
    (128 << 10, lru_cache(maxsize=16)(Script)),
]


def script_in(text: str) -> Script:
    """Return the script in a text of bytes, a character for each."""
    for length, read in _READ:
        if len(text) <= length:
            return read(text)
    return Script(text)


def run_script(host: ScriptHost, text: str, keys: list[str], arguments: list[str]) -> Any:
    """Return the reply of a script: a status, an error, a str, an int, a list, or None. All
    texts are bytes. The changes before an error stay."""
    script = script_in(text)
    if script.problem:
        return ErrorReply(script.problem)
    proto = script.proto
    globals_ = {**GLOBALS, "KEYS": Table(list(keys)), "ARGV": Table(list(arguments)), "_G": _G}
    run = ScriptRun(host, globals_)
    run.spend(20 + len(keys) + len(arguments) + (len(text) >> 4))
    run.depth = proto.cost
    try:
        found = proto.body([run, [], [], *proto.pad])
        reply = _reply(run, found[0] if found else None, 0)
    except LuaError as error:
        reply = ErrorReply(_worded(error, script.sha))
    run.settle()
    return reply


def _worded(error: LuaError, sha: str) -> str:
    """Return an error that ended a script, as Redis tells it."""
    value = error.value
    if type(value) is Table:
        text = value.hash.get("err")
        text = text if type(text) is str else "ERR unknown error"
    else:
        text = f"ERR {text_of(value)}"
    where = f", on @user_script:{error.line}." if error.line else ""
    return f"{text} script: {sha}{where}"


def _reply(run: ScriptRun, value: Any, deep: int) -> Any:
    """Return a value of Lua as Redis replies with it."""
    run.spend(1)
    if type(value) is float:
        return int(value) if -_LONG <= value < _LONG else -_LONG
    if type(value) is bool:
        return 1 if value else None
    if type(value) is not Table:
        return value if type(value) is str else None
    if type(problem := value.hash.get("err")) is str:
        return ErrorReply(problem)
    if type(status := value.hash.get("ok")) is str:
        return StatusReply(status)
    if deep >= _REPLY_DEPTH:
        return ErrorReply("ERR reached lua stack limit")
    parts = []
    for each in value.array:
        if each is None:
            break
        parts.append(_reply(run, each, deep + 1))
    return parts
