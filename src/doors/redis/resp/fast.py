"""The commands that one line carries out, without a view. Pure.

Such a command goes with others in one batch. The function of a command returns None if its
arguments need a view after all. Then, and in a `MULTI`, the function of the view is used.
"""

from __future__ import annotations

from dataclasses import dataclass

from ....wire.commands.command_table import FOREIGN, row_of
from ....wire.commands.transaction_line import spell_word
from ....wire.limits import TRANSACTION_ITEMS
from .keys import delex_test
from .programs import INTEGER_MAX, Context, integer, seconds_text, spell_key, spell_value
from .strings import SetOptions, getex_times, increment_of, pairs_of, set_options
from .times import Times, expire_flags, expire_time, setex_time


@dataclass(slots=True)
class Line:
    """One line in canonical form. `form` names the meaning of its reply, after which parameters of
    the form may follow."""

    command: str
    form: str
    key: str  # its first key
    level: int = FOREIGN.level  # of the cluster that it needs


def _line(context: Context, words: list[str], verb: str, form: str = "", rest: str = "") -> Line:
    """Return the line of a verb on the first key."""
    key = spell_key(words[1], context.node.limits)
    command = f"{verb} {key}{rest}"
    return Line(command, form or verb, words[1], row_of(verb).level)


def _txn(words: list[str], form: str, text: str) -> Line:
    return Line(f"txn {text}", form, words[1], row_of("txn").level)


def get(context: Context, words: list[str]) -> Line | None:
    return _line(context, words, "get")


def exists(context: Context, words: list[str]) -> Line | None:
    return _line(context, words, "stat", "met") if len(words) == 2 else None


def strlen(context: Context, words: list[str]) -> Line | None:
    return _line(context, words, "stat", "strlen")


def type_of(context: Context, words: list[str]) -> Line | None:
    return _line(context, words, "stat", "type")


def ttl(context: Context, words: list[str]) -> Line | None:
    name = words[0].upper()
    now_ms = context.node.now_ms() if name.endswith("TIME") else 0
    return _line(context, words, "ttl", f"ttl:{name}:{now_ms}")


def getrange(context: Context, words: list[str]) -> Line | None:
    return _line(context, words, "get", f"range:{integer(words[2])}:{integer(words[3])}")


def set_value(context: Context, words: list[str]) -> Line | None:
    if len(words) == 3:
        value = spell_value(words[2], context.node.limits)
        return _line(context, words, "set", "set", f" {value}")
    options = set_options(words[3:], context.node.now_ms())
    left_ms = options.times.left_ms
    if options.times.keeps or (left_ms is not None and left_ms <= 0):
        return None
    return _set_with(context, words, options)


def _set_with(context: Context, words: list[str], options: SetOptions) -> Line:
    spell_key(words[1], context.node.limits)
    spell_value(words[2], context.node.limits)
    write = _write(words[1], words[2], options.times)
    condition = _condition(spell_word(words[1]), options)
    if not options.gets:
        if not condition and options.times.left_ms is not None:
            time = seconds_text(options.times.left_ms)
            value = spell_value(words[2], context.node.limits)
            return _line(context, words, "setex", "set", f" {time} {value}")
        return _txn(words, "set-if", f"if {condition} then {write}" if condition else write)
    read = f"get {spell_word(words[1])}"
    if not condition:
        return _txn(words, "first", f"{read} ; {write}")
    return _txn(words, "first", f"if {condition} then {read} ; {write} else {read}")


def _write(key: str, value: str, times: Times) -> str:
    """Return the operation that sets a key, perhaps for a time."""
    word, text = spell_word(key), spell_word(value)
    if times.left_ms is None:
        return f"set {word} {text}"
    return f"setex {word} {seconds_text(times.left_ms)} {text}"


def _condition(key: str, options: SetOptions) -> str:
    match options.condition:
        case "NX":
            return f"{key} absent"
        case "XX":
            return f"{key} exists"
        case "IFEQ":
            return f"{key} = {spell_word(options.value)}"
        case "IFNE":
            return f"{key} != {spell_word(options.value)}"
    return ""


def setnx(context: Context, words: list[str]) -> Line | None:
    value = spell_value(words[2], context.node.limits)
    return _line(context, words, "setnx", "met", f" {value}")


def setex(context: Context, words: list[str]) -> Line | None:
    time = seconds_text(setex_time(words))
    value = spell_value(words[3], context.node.limits)
    return _line(context, words, "setex", "set", f" {time} {value}")


def getset(context: Context, words: list[str]) -> Line | None:
    spell_key(words[1], context.node.limits)
    spell_value(words[2], context.node.limits)
    key = spell_word(words[1])
    return _txn(words, "first", f"get {key} ; set {key} {spell_word(words[2])}")


def getdel(context: Context, words: list[str]) -> Line | None:
    spell_key(words[1], context.node.limits)
    key = spell_word(words[1])
    return _txn(words, "first", f"get {key} ; delete {key}")


def getex(context: Context, words: list[str]) -> Line | None:
    times = getex_times(words, context.node.now_ms())
    spell_key(words[1], context.node.limits)
    key = spell_word(words[1])
    if times.ends:
        return _txn(words, "first", f"get {key} ; persist {key}")
    if times.left_ms is None:
        return get(context, words)
    if times.left_ms <= 0:
        return _txn(words, "first", f"get {key} ; delete {key}")
    return _txn(words, "first", f"get {key} ; expire {key} {seconds_text(times.left_ms)}")


def mset(context: Context, words: list[str]) -> Line | None:
    return _many(context, words, "set", "")


def msetnx(context: Context, words: list[str]) -> Line | None:
    names = dict.fromkeys(words[1::2])
    conditions = " ; ".join([f"{spell_word(key)} absent" for key in names])
    return _many(context, words, "branch", f"if {conditions} then ")


def _many(context: Context, words: list[str], form: str, condition: str) -> Line | None:
    pairs = pairs_of(words)
    if len(pairs) > TRANSACTION_ITEMS:
        return None
    for key, value in pairs:
        spell_key(key, context.node.limits)
        spell_value(value, context.node.limits)
    writes = " ; ".join([f"set {spell_word(key)} {spell_word(value)}" for key, value in pairs])
    return _txn(words, form, f"{condition}{writes}")


def delete(context: Context, words: list[str]) -> Line | None:
    return _line(context, words, "delete", "met") if len(words) == 2 else None


def delex(context: Context, words: list[str]) -> Line | None:
    if len(words) == 2:
        return delete(context, words)
    test = delex_test(words)
    spell_key(words[1], context.node.limits)
    key = spell_word(words[1])
    condition = f"{key} exists ; {key} {test} {spell_word(words[3])}"
    return _txn(words, "branch", f"if {condition} then delete {key}")


def append(context: Context, words: list[str]) -> Line | None:
    value = spell_value(words[2], context.node.limits)
    return _line(context, words, "append", "append", f" {value}")


def incr(context: Context, words: list[str]) -> Line | None:
    by = increment_of(words)
    if by < -INTEGER_MAX:
        return None
    return _line(context, words, "incr", "incr", f" {by}")


def expire(context: Context, words: list[str]) -> Line | None:
    flags, left_ms = expire_flags(words), expire_time(words, context.node.now_ms())
    if flags:
        return None
    if left_ms <= 0:
        return _line(context, words, "delete", "met")
    return _line(context, words, "expire", "met", f" {seconds_text(left_ms)}")


def persist(context: Context, words: list[str]) -> Line | None:
    return _line(context, words, "persist", "met")
