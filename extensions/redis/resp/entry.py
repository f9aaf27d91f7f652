r"""Commands on keys as one entry of the log. Pure.

    redis 1764351306000 INCRBYFLOAT k 1.5
    redis 1764351306000 own-61-20=15000 EXPIRE k 100 GT
    redis 1764351306000 if k unchanged since 57 under none then SET k 1 ; INCR n

The first word is the time of day at the leader, in milliseconds. Then come the times that leases
have left, the conditions, all of which must hold, and the commands. Words are written as in a
transaction (wire/commands/transaction_line.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from json.encoder import encode_basestring_ascii
from typing import Any, Final, NamedTuple

from raftline.wire.commands.transaction_line import (
    DIVIDERS,
    EMPTY,
    Condition,
    format_condition,
    format_word,
    read_conditions,
)
from raftline.wire.done_reply import NOT_DONE, done_reply, is_done
from raftline.wire.operands.lease_operands import SECONDS_MAX, lease_in, own_in
from raftline.wire.operands.operands import NO_LIMITS, Limits
from raftline.wire.protocol import ProtocolError, is_number, shown, unescape

from .functions import FUNCTIONS
from .limits import REDIS_ARGUMENTS, REDIS_QUEUED
from .programs import in_capitals
from .replies import (
    NO_LIST,
    Failure,
    Pairs,
    SetReply,
    Simple,
    Value,
    format_double,
    length_of,
)
from .request_ledger import RequestLedger

VERB: Final = "redis"
FORM: Final = "NOW [LEASE=MS ...] [if CONDITION ; ... then] COMMAND ; ..."
RESPONSE: Final = "REDIS response"
_PLAIN: Final = 4096  # characters of an entry whose words are not looked at one by one
_NUMBERS: Final = re.compile(rf"{RESPONSE}: \[(-?[0-9]+(?:, -?[0-9]+)*)\]").fullmatch
_NOTHING: Final = "Nothing was done."


class RedisEntry(NamedTuple):
    """The commands of an entry, and what they depend on besides the keys."""

    now_ms: int
    left_ms: dict[str, int]  # by lease
    conditions: list[Condition]
    commands: list[list[str]]


def format_entry(
    now_ms: int,
    commands: Iterable[Sequence[str]],
    conditions: Sequence[str] = (),
    left_ms: Mapping[str, int] | None = None,
) -> str:
    """Return the line of an entry. The conditions are encoded already."""
    words = [VERB, str(now_ms), *(f"{lease}={ms}" for lease, ms in (left_ms or {}).items())]
    if conditions:
        words += ["if", " ; ".join(conditions), "then"]
    text = " ; ".join(map(_format_command, commands))
    return " ".join([*words, text] if text else words)


def _format_command(words: Sequence[str]) -> str:
    text = " ".join(words)
    is_plain = text.isascii() and text.isprintable() and "\\" not in text and "" not in words
    if is_plain and text.count(" ") == len(words) - 1 and DIVIDERS.isdisjoint(words):
        return text  # the same, without a look at each word
    return " ".join(map(format_word, words))


def read_entry(operands: str, limits: Limits = NO_LIMITS) -> RedisEntry:
    """Return the entry after `redis `.

    Raises:
        ProtocolError: it has a mistake.
    """
    if len(operands) < _PLAIN and (plain := _read_plain(operands)) is not None:
        return plain
    now, *words = operands.split(" ")
    if not is_number(now):
        raise ProtocolError(f"the form is: {VERB} {FORM}. {_NOTHING}")
    left_ms: dict[str, int] = {}
    while words and "=" in words[0] and (time := _time_in(words[0])) is not None:
        left_ms[time[0]] = time[1]
        del words[0]
    conditions: list[Condition] = []
    if words[:1] == ["if"] and "then" in words:
        place = words.index("then")
        conditions = read_conditions(words[1:place], limits)
        words = words[place + 1 :]
    commands = list(map(_read_command, _divided(words) if words else []))
    if not (commands or conditions):
        raise ProtocolError(f"the form is: {VERB} {FORM}. {_NOTHING}")
    keys = {key for words in commands for key in FUNCTIONS[words[0]].keys_in(words)}
    if len(commands) > REDIS_QUEUED or len(keys) > REDIS_ARGUMENTS:
        most = f"{REDIS_QUEUED} commands and {REDIS_ARGUMENTS} keys"
        raise ProtocolError(f"an entry has at most {most}. {_NOTHING}")
    return RedisEntry(int(now), left_ms, conditions, commands)


def _read_plain(operands: str) -> RedisEntry | None:
    """Return a short entry of commands alone, without escapes; None for another one, or one with a
    mistake. `read_entry` returns the same in three times the time."""
    now, _, text = operands.partition(" ")
    if "\\" in text or not is_number(now):
        return None
    commands = [command.split(" ") for command in text.split(" ; ")]
    if len(commands) > REDIS_QUEUED:
        return None
    for words in commands:
        function = FUNCTIONS.get(words[0])
        if function is None or not function.fits(len(words)) or ";" in words or "" in words:
            return None
    return RedisEntry(int(now), {}, [], commands)


def _time_in(word: str) -> tuple[str, int] | None:
    """Return the lease and the time in `LEASE=MS`."""
    lease, _, ms = word.partition("=")
    if (lease_in(lease) or own_in(lease)) is None or not is_number(ms):
        return None
    return (lease, int(ms)) if 0 < int(ms) <= 1000 * SECONDS_MAX else None


def _divided(words: list[str]) -> list[list[str]]:
    """Return the words of each command."""
    commands: list[list[str]] = [[]]
    for word in words:
        if word == ";":
            commands.append([])
        else:
            commands[-1].append(word)
    return commands


def _read_command(words: list[str]) -> list[str]:
    """Return the words of a command as they are meant."""
    if "" in words or not words:
        raise ProtocolError(f"an empty word is written {EMPTY}. {_NOTHING}")
    try:
        name, *rest = ["" if word == EMPTY else unescape(word) for word in words]
    except UnicodeError:
        raise ProtocolError(f"a word has bytes that are not escaped. {_NOTHING}") from None
    function = FUNCTIONS.get(in_capitals(name))
    if function is None:
        raise ProtocolError(f"{shown(name)} is no command of Redis on keys. {_NOTHING}")
    if not function.fits(len(words)):
        raise ProtocolError(f"{function.name} takes another number of words. {_NOTHING}")
    return [function.name, *rest]


def read_line(verb: str, operands: str, limits: Limits) -> str:
    """Return a typed line in its canonical form.

    Raises:
        ProtocolError: it has a mistake.
    """
    entry = read_entry(operands.strip(" "), limits)
    conditions = list(map(format_condition, entry.conditions))
    return format_entry(entry.now_ms, entry.commands, conditions, entry.left_ms)


# --- the reply ------------------------------------------------------------------------------------


def format_answer(value: Value) -> str:
    """Return the reply to a command as JSON. What JSON has no type for is an object with the name
    of its type: a status, an error, a double, a map, a set, pairs, members with their scores."""
    if type(value) is int:
        return str(value)  # as JSON does, by a quarter of the time
    match value:
        case Simple():
            return f'{{"status": {encode_basestring_ascii(value)}}}'
        case Failure():
            return f'{{"error": {encode_basestring_ascii(value)}}}'
        case str():
            return encode_basestring_ascii(value)
        case list():
            if all([type(each) is str for each in value]):
                return json.dumps(value)  # the same, by C code
            return f"[{', '.join(map(format_answer, value))}]"
        case None | int():
            return json.dumps(value)
    return _format_typed(value)


def counted_answer(value: Value, ledger: RequestLedger) -> str:
    """Return the same, counted before it is made: a few bytes may ask for a long value often.

    Raises:
        OverLedgerError: it would be too long.
    """
    size = length_of(value)
    ledger.returns(size)
    text = format_answer(value)
    ledger.returns(max(0, len(text) - size))
    return text


def _format_typed(value: Value) -> str:
    match value:
        case float():
            return f'{{"double": "{format_double(value)}"}}'
        case Pairs("scores", items):
            members, scores = zip(*items, strict=True) if items else ((), ())
            texts = list(map(format_double, scores))
            return f'{{"scores": [{json.dumps(members)}, {json.dumps(texts)}]}}'
        case Pairs(kind, items):
            return f'{{"{kind}": {format_answer([each for item in items for each in item])}}}'
        case SetReply(parts):
            return f'{{"set": {format_answer(parts)}}}'
    return '{"absent": "list"}'


def numbers_in(reply: str) -> list[str] | None:
    """Return the replies to the commands of an entry if all of them are numbers."""
    match = _NUMBERS(reply)
    return match[1].split(", ") if match is not None else None


def answers_in(reply: str) -> list[Value] | None:
    """Return the replies to the commands of an entry; None if a condition did not hold."""
    if not is_done(reply):
        return None
    return list(map(_value, json.loads(reply.partition(": ")[2])))


_LACKING: Final = "lacks-times-of"  # begins what such an entry replies


def lacks_times(keys: Iterable[str]) -> str:
    """Return why an entry did nothing: a script asks for the times that these keys have left."""
    return " ".join([_LACKING, *map(format_word, keys)])


def lacking_in(reply: str) -> list[str]:
    """Return the keys whose times an entry lacks, none for any other reply."""
    parts = done_reply(reply)
    if parts is None or parts.word != NOT_DONE:
        return []
    first, *words = parts.rest.split(" ")
    return [unescape(word) for word in words] if first == _LACKING else []


def _paired(content: list[Any]) -> list[tuple[Value, Value]]:
    return list(zip(*[iter(map(_value, content))] * 2, strict=True))


def _value(answer: Any) -> Value:
    if isinstance(answer, dict):
        ((name, content),) = answer.items()
        return _OF_NAMES[name](content)
    return list(map(_value, answer)) if isinstance(answer, list) else answer


_OF_NAMES: Final[Mapping[str, Callable[[Any], Value]]] = {
    "absent": lambda content: NO_LIST,
    "double": float,
    "error": Failure,
    "keyed": lambda content: Pairs("keyed", _paired(content)),
    "map": lambda content: Pairs("map", _paired(content)),
    "pairs": lambda content: Pairs("pairs", _paired(content)),
    "scores": lambda content: Pairs(
        "scores", list(zip(content[0], map(float, content[1]), strict=True))
    ),
    "set": lambda content: SetReply(list(map(_value, content))),
    "status": Simple,
}
