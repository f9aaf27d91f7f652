"""Known scripts: `EVAL` and `EVALSHA` become the call of a script by its name. Pure.

    FCALL lock-release 1 job 5f2c

There is no Lua. A script is recognized by its tokens, and the entry of the log has its name, its
keys and its arguments.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Final

from raftline.wire.protocol import shown

from ..limits import REDIS_SCRIPT_BYTES
from ..programs import (
    CommandContext,
    CommandRefused,
    Program,
    Run,
    choose,
    in_capitals,
    integer,
    raw,
)
from ..replies import OK, Failure, Value
from ..view import Decide, View
from .counter_scripts import COUNTER_SCRIPTS
from .list_scripts import LIST_SCRIPTS
from .lock_scripts import LOCK_SCRIPTS
from .lua_tokens import LuaError, tokens_of
from .lua_values import to_reply
from .rate_scripts import RATE_SCRIPTS
from .script_rows import Running, Script
from .sorted_set_scripts import SORTED_SET_SCRIPTS

CALL: Final = "FCALL"
CALL_READ: Final = "FCALL_RO"
NO_SCRIPT: Final = Failure("NOSCRIPT No matching script. Please use EVAL.")
NO_LUA: Final = Failure(
    "ERR this script is not known here. A write is a line of the log that people can read, so there"
    " is no Lua: only the scripts of some libraries are known, and only unchanged. They are listed"
    " in docs/use/redis.md, Scripts"
)
SCRIPTS: Final[Mapping[str, Script]] = {
    row.name: row
    for row in (
        *LOCK_SCRIPTS,
        *COUNTER_SCRIPTS,
        *RATE_SCRIPTS,
        *LIST_SCRIPTS,
        *SORTED_SET_SCRIPTS,
    )
}


@cache
def _by_tokens() -> Mapping[str, str]:
    """Return the names of the scripts by their tokens."""
    return {tokens_of(text): row.name for row in SCRIPTS.values() for text in row.texts}


def name_of(text: str) -> str | None:
    """Return the name of a script, None if it is not known."""
    if len(text) > REDIS_SCRIPT_BYTES:
        return None
    try:
        return _by_tokens().get(tokens_of(text))
    except LuaError:
        return None


def sha_of(text: str) -> str:
    """Return by what `EVALSHA` names a script."""
    return hashlib.sha1(raw(text), usedforsecurity=False).hexdigest()


def _loaded(context: CommandContext, text: str) -> tuple[str, str]:
    """Return the SHA1 and the name of a script, which `EVALSHA` knows at this node from now on.

    Raises:
        Refused: it is not known.
    """
    sha = sha_of(text)
    user = context.session.user()
    name = context.node.script(user, sha)
    if name is None:
        name = name_of(text)
        if name is None:
            raise CommandRefused(NO_LUA)
        context.node.keep_script(user, sha, name)
    return sha, name


# --- the call of a script ------------------------------------------------------------------------


def called(context: CommandContext, words: list[str]) -> list[str]:
    """Return an `EVAL` or an `EVALSHA` as the call of a script by its name.

    Raises:
        Refused: the script is not known, or the number of its keys is wrong.
    """
    by_sha = in_capitals(words[0]) == "EVALSHA"
    if by_sha and len(words[1]) != 40:
        raise CommandRefused(NO_SCRIPT)
    count = integer(words[2])
    if count > len(words) - 3:
        raise CommandRefused("ERR Number of keys can't be greater than number of args")
    if count < 0:
        raise CommandRefused("ERR Number of keys can't be negative")
    if by_sha:
        name = context.node.script(context.session.user(), words[1].lower())
    else:
        name = _loaded(context, words[1])[1]
    if name is None:
        raise CommandRefused(NO_SCRIPT)
    return [CALL_READ if SCRIPTS[name].is_read else CALL, name, str(count), *words[3:]]


def keys_in(words: list[str]) -> list[str]:
    """Return the keys of a call, also those that a script takes as arguments; none if their number
    is wrong."""
    count, script = _count_of_keys(words), SCRIPTS.get(words[1])
    if count < 0:
        return []
    return words[3 : 3 + count + (script.argument_keys if script is not None else 0)]


def _count_of_keys(words: list[str]) -> int:
    """Return how many `KEYS` a call has, below 0 if the number is wrong."""
    text = words[2]
    count = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else len(words)
    return count if count <= len(words) - 3 and text == str(count) else -1


def takes_times(words: list[str]) -> bool:
    """Whether a script depends on the time that its keys have left."""
    script = SCRIPTS.get(words[1])
    return script is not None and script.takes_times


def run(view: View, words: list[str], commands: Mapping[str, Decide]) -> Value:
    """FCALL NAME COUNT KEY ... ARGUMENT ..., FCALL_RO"""
    script, count = SCRIPTS.get(words[1]), _count_of_keys(words)
    if script is None:
        raise CommandRefused(f"ERR {shown(words[1])} is no script that is known here")
    if count < 0:
        raise CommandRefused("ERR Number of keys is wrong")
    if words[0] == CALL_READ and not script.is_read:
        raise CommandRefused("ERR Can not execute a script with write flag using *_ro command.")
    try:
        return to_reply(
            script.run(Running(view, words[3 : 3 + count], words[3 + count :], commands))
        )
    except CommandRefused as refused:  # what it has done stays, as in Redis
        return Failure(f"{refused.failure} script: {script.name}")


# --- SCRIPT --------------------------------------------------------------------------------------


def _load(context: CommandContext, words: list[str]) -> Value:
    return _loaded(context, words[2])[0]


def _exists(context: CommandContext, words: list[str]) -> Value:
    user = context.session.user()
    return [int(context.node.script(user, name.lower()) is not None) for name in words[2:]]


def _flush(context: CommandContext, words: list[str]) -> Value:
    if [word.upper() for word in words[2:]] not in ([], ["ASYNC"], ["SYNC"]):
        raise CommandRefused("ERR SCRIPT FLUSH only support SYNC|ASYNC option")
    context.node.forget_scripts(context.session.user())
    return OK


_SCRIPT: Final[Mapping[str, tuple[int, Run]]] = {
    "EXISTS": (-3, _exists),
    "FLUSH": (-2, _flush),
    "LOAD": (3, _load),
}


def script(context: CommandContext, words: list[str]) -> Program | Value:
    """SCRIPT LOAD TEXT, SCRIPT EXISTS SHA1 ..., SCRIPT FLUSH"""
    return choose(words, "SCRIPT", _SCRIPT, context)
