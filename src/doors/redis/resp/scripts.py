"""The scripts of redis-py's `Lock`, recognized by their SHA1. Pure.

There is no Lua: every other script is unknown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Final

from .programs import Context, Program, Refused, Run, choose, integer, raw
from .replies import OK, Failure, Value
from .view import View

NO_SCRIPT: Final = Failure("NOSCRIPT No matching script. Please use EVAL.")
NO_LUA: Final = Failure("ERR scripts are not supported, except those of the Lock of redis-py")


def release(view: View, words: list[str]) -> Value:
    """Remove the key if it holds the token. The words are the key and the token."""
    return int(view.get(words[0]) == words[1] and view.delete(words[0]))


def extend(view: View, words: list[str]) -> Value:
    """Add to the time of the key if it holds the token, or replace its time. The words are the key,
    the token, milliseconds, and `0` to add."""
    key, by = words[0], integer(words[2])
    if view.get(key) != words[1] or not view.has_time(key):
        return 0
    view.expire(key, by + (view.left_ms(key) or 0) if words[3] == "0" else by)
    return 1


def reacquire(view: View, words: list[str]) -> Value:
    """Set the time of the key if it holds the token. The words are the key, the token and
    milliseconds."""
    if view.get(words[0]) != words[1]:
        return 0
    view.expire(words[0], integer(words[2]))
    return 1


class Script:
    """A known script: its number of words after the number of keys, and its function."""

    def __init__(self, count: int, decide: Callable[[View, list[str]], Value]) -> None:
        self.count = count
        self.decide = decide


SCRIPTS: Final[Mapping[str, Script]] = {
    "c3f8721cbb97f72bc19e972846bd7aaf91901658": Script(2, release),
    "a4e8783852e6b949f9ef3a97212805108459a890": Script(4, extend),
    "1cac51482acf5858da00f6d685d68f886cd6b6b2": Script(3, reacquire),
}


def sha_of(text: str) -> str:
    """Return the name of a script."""
    return hashlib.sha1(raw(text), usedforsecurity=False).hexdigest()


def by_name(words: list[str]) -> list[str]:
    """Return an `EVAL` as an `EVALSHA`.

    Raises:
        Refused: the script is unknown.
    """
    name = sha_of(words[1])
    if name not in SCRIPTS:
        raise Refused(NO_LUA)
    return ["EVALSHA", name, *words[2:]]


def evaluate(view: View, words: list[str]) -> Value:
    """EVALSHA SHA1 1 KEY ARGUMENT ..."""
    return script_of(words).decide(view, words[3:])


def script_of(words: list[str]) -> Script:
    """Return the script of an `EVALSHA`.

    Raises:
        Refused: it is unknown, or its arguments are wrong.
    """
    script = SCRIPTS.get(words[1].lower())
    if script is None:
        raise Refused(NO_SCRIPT)
    if words[2] != "1" or len(words) != 3 + script.count:
        raise Refused("ERR this script takes one key, and another number of arguments")
    return script


def extends(words: list[str]) -> bool:
    """Whether a script adds to the time that its key has left."""
    return words[-1] == "0"


def _load(context: Context, words: list[str]) -> Value:
    name = sha_of(words[2])
    if name not in SCRIPTS:
        raise Refused(NO_LUA)
    return name


def _flush(context: Context, words: list[str]) -> Value:
    if [word.upper() for word in words[2:]] not in ([], ["ASYNC"], ["SYNC"]):
        raise Refused("ERR SCRIPT FLUSH only support SYNC|ASYNC option")
    return OK


_SCRIPT: Final[Mapping[str, tuple[int, Run]]] = {
    "EXISTS": (-3, lambda context, words: [int(name.lower() in SCRIPTS) for name in words[2:]]),
    "FLUSH": (-2, _flush),
    "LOAD": (3, _load),
}


def script(context: Context, words: list[str]) -> Program | Value:
    """SCRIPT LOAD TEXT, SCRIPT EXISTS SHA1 ..., SCRIPT FLUSH"""
    return choose(words, "SCRIPT", _SCRIPT, context)
