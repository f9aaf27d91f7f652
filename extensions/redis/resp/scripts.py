"""Scripts in Lua as commands of an entry: `EVAL`, `EVALSHA`, `SCRIPT`. Pure.

    EVALSHA 4c5a2d31db4dfc66a8d4c0b0f1ba1bd3e8ea2b3c 1 job 5f2c

`EVAL` keeps its text under a key of the store, whose name is the SHA1 of the text, so a text is in
the log once. A text that has another SHA1 than its key is not taken for a script.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from raftline.wire.protocol import ProtocolError, real, shown, size_of

from .function_rows import Function
from .limits import REDIS_SCRIPT_BYTES, REDIS_SCRIPTS, REDIS_SCRIPTS_BYTES
from .lua.scripts import ErrorReply, StatusReply, error_table, run_script, script_in
from .lua.values import ScriptRun, Table
from .programs import CommandRefused, in_capitals, integer, raw, text_of
from .replies import NO_ROOM, OK, Failure, NoList, Pairs, SetReply, Simple, Value, format_double
from .types.typed import STRING
from .view import Decide, View

NAMES: Final = ("EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO")
# In an entry of a cluster that is full: only commands that free something are carried out, and no
# text is kept. No client sends these.
FREEING_CALLS: Final = tuple(f"{name}_FREEING" for name in NAMES)
BY_TEXT: Final = tuple(name for name in (*NAMES, *FREEING_CALLS) if "SHA" not in name)
# Of the commands that need no room, as a regular expression.
FREEING: Final = (
    r"DEL|UNLINK|DELEX|GETDEL|GET|MGET|EXISTS|TOUCH|STRLEN|TYPE|TTL|PTTL|B?LPOP|B?RPOP|BZPOPMIN"
    r"|BZPOPMAX|B?[LZ]MPOP|HDEL|HGET|HGETALL|HMGET|LINDEX|LLEN|LRANGE|LREM|LTRIM|SCARD|SISMEMBER|SMEMBERS|SPOP"
    r"|SREM|XDEL|XLEN|XRANGE|XREVRANGE|XTRIM|ZCARD|ZPOPMAX|ZPOPMIN|ZREM|ZREMRANGEBY(?:LEX|RANK|SCORE)|ZSCORE"
)
NO_SCRIPT: Final = Failure("NOSCRIPT No matching script. Please use EVAL.")
PREFIX: Final = "redis-script:"  # of the keys with texts
LIST: Final = f"{PREFIX}list"  # the SHA1 and the size of each, the oldest first
STEP_BYTES: Final = 18  # of work, as the ledger counts it
READ_BYTES: Final = 50  # of work for each byte of a text that is read
UNKNOWN: Final = "ERR Unknown Redis command called from script"
NOT_FROM_SCRIPTS: Final = "ERR This Redis command is not allowed from script"
WRONG_COUNT: Final = "ERR Wrong number of args calling Redis command from script"
READ_ONLY: Final = "ERR Write commands are not allowed from read-only scripts."
_frees: Final = re.compile(FREEING).fullmatch
_TIMES: Final = ("ttl", "expiretime")
_QUICK_BYTES: Final = 2 << 10  # of the text of a script that is looked at before it runs


def sha_of(text: str) -> str:
    """Return by what `EVALSHA` names a script."""
    return hashlib.sha1(raw(text), usedforsecurity=False).hexdigest()


def key_of(sha: str) -> str:
    """Return the key that holds the text of a script."""
    return PREFIX + sha.lower()


# --- the words of a call --------------------------------------------------------------------------


def _count_of_keys(words: list[str]) -> int:
    """Return how many keys a call names.

    Raises:
        Refused: the number is wrong.
    """
    count = integer(words[2])
    if count > len(words) - 3:
        raise CommandRefused("ERR Number of keys can't be greater than number of args")
    if count < 0:
        raise CommandRefused("ERR Number of keys can't be negative")
    return count


def keys_in(words: list[str]) -> list[str]:
    """Return the keys that a call names, none if their number is wrong."""
    try:
        return words[3 : 3 + _count_of_keys(words)]
    except CommandRefused:
        return []


def freeing(function: Function) -> Function:
    """Return a command as an entry of a full cluster carries it out."""
    return (
        function._replace(name=f"{function.name}_FREEING") if function.name in NAMES else function
    )


def takes_times(words: list[str]) -> bool:
    """Whether a script probably asks for the time that a key has left. If it does without these
    times, the entry does nothing, and names the keys."""
    text = words[1].lower() if words[0] in BY_TEXT else ""
    return any([word in text for word in _TIMES])


def check(words: list[str]) -> None:
    """Check a call before it becomes an entry.

    Raises:
        Refused: no node would carry it out.
    """
    if in_capitals(words[0]) == "SCRIPT":
        _subcommand(words)
        return
    _count_of_keys(words)
    if in_capitals(words[0]) in BY_TEXT:
        _check_size(words[1])
    elif len(words[1]) != 40:
        raise CommandRefused(NO_SCRIPT)


def _check_size(text: str) -> None:
    size = size_of(text)
    if size > REDIS_SCRIPT_BYTES:
        raise CommandRefused(
            f"ERR the script has {size} bytes; the limit is {REDIS_SCRIPT_BYTES}. Nothing was done"
        )


def is_quick(written: str) -> bool:
    """Whether a script has no loop, and calls little but commands; the text is as in the store."""
    return len(written) <= _QUICK_BYTES and script_in(_bytes(real(written))).is_short


# --- a call ---------------------------------------------------------------------------------------


def run(view: View, words: list[str], functions: Mapping[str, Function]) -> Value:
    """EVAL TEXT COUNT KEY ... ARGUMENT ..., EVALSHA SHA1 ..., EVAL_RO, EVALSHA_RO

    Raises:
        ProtocolError: the entry may not do anything.
    """
    count = _count_of_keys(words)
    text, sha = words[1], words[1].lower()
    is_freeing = words[0] in FREEING_CALLS
    if words[0] in BY_TEXT:
        sha = _kept(view, text, is_freeing=is_freeing)
    else:
        text = _held(view, sha)
    keys, arguments = words[3 : 3 + count], words[3 + count :]
    view.works(len(text) >> 3)
    host = _Host(view, functions, is_read="_RO" in words[0], is_freeing=is_freeing)
    view.in_script = True
    try:
        reply = run_script(host, _bytes(text), [*map(_bytes, keys)], [*map(_bytes, arguments)])
    except (ProtocolError, MemoryError):
        raise
    except Exception as problem:  # one wall: whatever it is, each node meets it, and does nothing
        what = shown(f"{type(problem).__name__}: {problem}")
        raise ProtocolError(
            f"the script met a mistake of this store ({what}). Nothing was done; report it"
        ) from problem
    finally:
        view.in_script = False
    value = _value_of(reply)
    if isinstance(value, Failure) and value.code == NO_SCRIPT.code:  # which is the node's own
        return Failure(f"ERR {value}")
    return value


def _held(view: View, sha: str) -> str:
    """Return the text of a script that was kept.

    Raises:
        Refused: there is none.
    """
    key = key_of(sha)
    if len(sha) != 40 or not view.has(key) or view.type_of(key) != STRING:
        raise CommandRefused(NO_SCRIPT)
    text = view.get(key)
    if text is None or len(text) > REDIS_SCRIPT_BYTES or script_in(_bytes(text)).sha != sha:
        raise CommandRefused(NO_SCRIPT)
    return text


def _kept(view: View, text: str, *, is_freeing: bool = False) -> str:
    """Keep the text of a script, unless the cluster is full, and return its SHA1.

    Raises:
        Refused: it is too long, or it is not a script.
    """
    _check_size(text)
    view.works(READ_BYTES * len(text))
    found = script_in(_bytes(text))
    sha = found.sha
    if found.problem:
        raise CommandRefused(found.problem)
    key = key_of(sha)
    if is_freeing or (view.has(key) and view.type_of(key) == STRING and view.get(key) == text):
        return sha
    view.attempt(lambda view, _: _keep(view, sha, text), [])
    return sha


def _keep(view: View, sha: str, text: str) -> None:
    """Keep a text, in place of the oldest ones if there are too many."""
    kept = [*[one for one in _listed(view) if one[0] != sha], (sha, len(text))]
    size = sum([each for _, each in kept])
    while len(kept) > REDIS_SCRIPTS or size > REDIS_SCRIPTS_BYTES:
        oldest, less = kept.pop(0)
        size -= less
        view.delete(key_of(oldest))
    view.set(LIST, " ".join([f"{one} {each}" for one, each in kept]))
    view.set(key_of(sha), text)


def _listed(view: View) -> list[tuple[str, int]]:
    """Return the SHA1 and the size of each text. Somebody may have written the list by hand."""
    is_there = view.has(LIST) and view.type_of(LIST) == STRING
    words = (view.get(LIST) or "").split(" ") if is_there else []
    pairs = zip(words[::2], words[1::2], strict=False)
    return [(sha, int(size)) for sha, size in pairs if len(sha) == 40 and size.isdecimal()
            and size.isascii() and len(size) < 10]  # fmt: skip


class _Host:
    """The commands of a script, on the keys of its entry."""

    def __init__(
        self, view: View, functions: Mapping[str, Function], *, is_read: bool, is_freeing: bool
    ) -> None:
        self._view = view
        self._functions = functions
        self._is_read = is_read
        self._is_freeing = is_freeing

    def works(self, steps: int) -> None:
        """See `ScriptHost`."""
        self._view.works(STEP_BYTES * steps)
        self._view.pause()

    def call(self, run: ScriptRun, words: list[str]) -> Any:
        """See `ScriptHost`."""
        view, name = self._view, in_capitals(words[0])
        if name == "TIME":
            return Table([str(view.now_ms // 1000), str(view.now_ms % 1000 * 1000)])
        function = self._functions.get(name)
        if function is None or function.is_entry:
            return error_table(NOT_FROM_SCRIPTS if name in _REFUSED else UNKNOWN)
        if not function.fits(len(words)):
            return error_table(WRONG_COUNT)
        if self._is_read and not function.is_read:
            return error_table(READ_ONLY)
        if self._is_freeing and not (function.is_read or _frees(name)):
            return error_table(NO_ROOM)
        texts = [name, *map(_text, words[1:])]
        for key, reads, writes in function.rights_in(texts) if view.may is not None else ():
            if view.may is not None and not view.may(key, reads, writes):
                return error_table(
                    f"NOPERM User has no permissions to access the key '{_bytes(shown(key))}'"
                )
        found = _to_lua(view.attempt(function.decide, texts))
        run.spend(_size_of(found) >> 6)
        return found


_REFUSED: Final = frozenset([
    "AUTH", "CLIENT", "CONFIG", "DISCARD", "EVAL", "EVALSHA", "EVALSHA_RO", "EVAL_RO", "EXEC",
    "FLUSHALL", "FLUSHDB", "HELLO", "KEYS", "MULTI", "PSUBSCRIBE", "PUNSUBSCRIBE", "QUIT",
    "RANDOMKEY", "RESET", "SCAN", "SCRIPT", "SUBSCRIBE", "UNSUBSCRIBE", "UNWATCH", "WATCH",
])  # fmt: skip


# --- values of Lua, and replies -------------------------------------------------------------------


def _bytes(text: str) -> str:
    """Return a text as a string of Lua, whose characters are bytes."""
    return text if text.isascii() else raw(text).decode("latin-1")


def _text(text: str) -> str:
    return text if text.isascii() else text_of(text.encode("latin-1"))


def _to_lua(reply: Value) -> Any:
    match reply:
        case Failure():
            return error_table(_bytes(str(reply)))
        case Simple():
            return Table(fields={"ok": str(reply)})
        case str():
            return _bytes(reply)
        case None | NoList():
            return False
        case bool() | int():
            return float(reply)
        case float():
            return format_double(reply)
        case list() | SetReply():
            return Table(list(map(_to_lua, reply if isinstance(reply, list) else reply.items)))
        case Pairs("keyed"):
            return Table([Table(list(map(_to_lua, item))) for item in reply.items])
        case Pairs():
            return Table([_to_lua(part) for item in reply.items for part in item])
    raise CommandRefused(UNKNOWN)


def _size_of(value: Any) -> int:
    """Return how many bytes a reply takes."""
    if type(value) is Table:
        return 64 + sum(map(_size_of, value.array))
    return 64 + (len(value) if type(value) is str else 0)


def _value_of(reply: Any) -> Value:
    if isinstance(reply, ErrorReply):
        return Failure(_line(reply))
    if isinstance(reply, StatusReply):
        return Simple(_line(reply))
    if isinstance(reply, str):
        return _text(str(reply))
    if isinstance(reply, list):
        return list(map(_value_of, reply))
    assert reply is None or isinstance(reply, int)
    return reply


def _line(text: str) -> str:
    return _text(str(text)).replace("\r", " ").replace("\n", " ")


# --- SCRIPT ---------------------------------------------------------------------------------------


def _load(view: View, words: list[str]) -> Value:
    return _kept(view, words[2])


def _exists(view: View, words: list[str]) -> Value:
    return [int(view.has(key_of(sha)) and len(sha) == 40) for sha in words[2:]]


def _flush(view: View, words: list[str]) -> Value:
    for sha, _ in _listed(view):
        view.delete(key_of(sha))
    view.delete(LIST)
    return OK


_SUBCOMMANDS: Final[Mapping[str, tuple[int, Callable[[View, list[str]], Value]]]] = {
    "EXISTS": (-3, _exists),
    "FLUSH": (-2, _flush),
    "LOAD": (3, _load),
}


def _subcommand(words: list[str]) -> Decide:
    name = in_capitals(words[1])
    count, function = _SUBCOMMANDS.get(name, (0, None))
    if function is None:
        raise CommandRefused(f"ERR unknown subcommand '{shown(words[1])}'. Try SCRIPT HELP.")
    if not (len(words) == count or (count < 0 and len(words) >= -count)):
        name = f"script|{name.lower()}"
        raise CommandRefused(f"ERR wrong number of arguments for '{name}' command")
    if name == "FLUSH" and [*map(in_capitals, words[2:])] not in ([], ["ASYNC"], ["SYNC"]):
        raise CommandRefused("ERR SCRIPT FLUSH only support SYNC|ASYNC option")
    if name == "LOAD":
        _check_size(words[2])
    return function


def script(view: View, words: list[str]) -> Value:
    """SCRIPT LOAD TEXT, SCRIPT EXISTS SHA1 ..., SCRIPT FLUSH"""
    return _subcommand(words)(view, words)
