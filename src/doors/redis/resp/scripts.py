"""The scripts of redis-py's `Lock`, recognized by their SHA1 and carried out as transactions. Pure.

There is no Lua: every other script is unknown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Final

from ....wire.commands.command_table import row_of
from ....wire.commands.transaction_line import spell_word
from .fast import Line
from .programs import Context, Program, Refused, Run, choose, integer, raw, spell_key
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
    key, left_ms = words[0], view.left_ms(words[0])
    if view.get(key) != words[1] or left_ms is None:
        return 0
    by = integer(words[2])
    view.expire(key, by + left_ms if words[3] == "0" else by)
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


_RELEASE: Final = Script(2, release)
SCRIPTS: Final[Mapping[str, Script]] = {
    "c3f8721cbb97f72bc19e972846bd7aaf91901658": _RELEASE,
    "a4e8783852e6b949f9ef3a97212805108459a890": Script(4, extend),
    "1cac51482acf5858da00f6d685d68f886cd6b6b2": Script(3, reacquire),
}


def sha_of(text: str) -> str:
    """Return the name of a script."""
    return hashlib.sha1(raw(text), usedforsecurity=False).hexdigest()


def _script_of(words: list[str]) -> Script:
    """Return the script of an `EVAL` or an `EVALSHA`.

    Raises:
        Refused: it is unknown, or its arguments are wrong.
    """
    by_name = words[0].upper() == "EVALSHA"
    script = SCRIPTS.get(words[1].lower() if by_name else sha_of(words[1]))
    if script is None:
        raise Refused(NO_SCRIPT if by_name else NO_LUA)
    if words[2] != "1" or len(words) != 3 + script.count:
        raise Refused("ERR this script takes one key, and another number of arguments")
    return script


def evaluate(view: View, words: list[str]) -> Value:
    """EVALSHA SHA1 1 KEY ARGUMENT ..., EVAL SCRIPT 1 KEY ARGUMENT ..."""
    return _script_of(words).decide(view, words[3:])


def line(context: Context, words: list[str]) -> Line | None:
    """Return the line of the script that releases a lock."""
    if _script_of(words) is not _RELEASE:
        return None
    spell_key(words[3], context.node.limits)
    key = spell_word(words[3])
    text = f"txn if {key} = {spell_word(words[4])} then delete {key}"
    return Line(text, "branch", words[3], row_of("txn").level)


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
