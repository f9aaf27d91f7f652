r"""Parsing of the transaction: several conditions and operations in one line. Pure.

    txn if b = 5 ; c absent then set b 6 ; delete c else get b

Words are separated by single spaces. A key or a value is one word: a space in it is written `\s`,
and an empty one `\e`. The words `;`, `then` and `else` are always separators. As a key or a value,
each of them is written with its first character as a byte: `\x3b`, `\x74hen`, `\x65lse`.
docs/use/transactions.md is the user's view.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from ...common.text import NUMBER
from ..limits import TRANSACTION_ITEMS, TRANSACTION_SCANS
from ..operands.lease_operands import NO_LEASE, lease_in, own_in
from ..operands.lease_operands import UNDER as UNDER_LEASE
from ..operands.operands import (
    KEY,
    KEY_BY,
    KEY_VALUE,
    WHOLE_NUMBER,
    Limits,
    Operands,
    is_whole_number,
)
from ..protocol import LONG, ProtocolError, escape, is_number, shown

FORM = "[if CONDITION ; ... then] OPERATION ; ... [else OPERATION ; ...]"
CONDITIONS = (
    "KEY = VALUE, KEY != VALUE, KEY > NUMBER, KEY < NUMBER, KEY absent, KEY absent since INDEX, "
    "KEY exists, KEY unchanged since INDEX, KEY unchanged since INDEX under LEASE, "
    "PREFIX has keys or PREFIX has none"
)
CLEAR = "clear"
EMPTY = r"\e"
_SPACE: Final = r"\s"
UNDER = "under"  # puts an operation under a lease: `under lease-57 set a 1`
DIVIDERS = frozenset([";", "then", "else"])
_FOLLOWS = {"if": "then", "then": "else"}
_NOTHING = "Nothing was done."
_ONE_WORD = rf"A value is one word: a space in it is written \s, an empty one {EMPTY}. {_NOTHING}"
# A word in canonical form: printable ASCII, in which no escape has a second meaning.
_WORD: Final = r"(?=[!-~])(?!(?:;|then|else)(?: |\Z))[!-\[\]-~]*(?:\\[nrst][!-\[\]-~]*)*"
_plain_condition: Final = re.compile(
    rf"({_WORD}) (?:(absent|exists)|(absent|unchanged) since ([1-9][0-9]{{0,17}})|(!?=) ({_WORD}))"
    " (;|then) "
).match
_plain_operation: Final = re.compile(
    rf"(?:under (lease-{NUMBER}(?:\.[0-9a-f]{{16}})?) )?([a-z]+) ({_WORD})(?: ({_WORD}))?"
    r"(?: (;|else) |\Z)"
).match


class Condition(NamedTuple):
    """A condition. `test` is `=`, `!=`, `>`, `<`, `absent`, `exists`, `unchanged`, `keys` or
    `none`; the key of the last two is a prefix."""

    key: str
    test: str
    value: str = ""  # in the form of a stored value
    since: int = 0  # of `unchanged`, and of `absent`, where 0 means any time
    lease: str | None = None  # which the key of `unchanged` is under, "" for none; None: any

    @property
    def is_on_prefix(self) -> bool:
        return self.test in ("keys", "none")


class TransactionCommand(NamedTuple):
    """A parsed transaction. Its operations are commands in their canonical form."""

    conditions: list[Condition]
    then: list[str]
    otherwise: list[str]
    typed: str = ""  # the transaction without its verb, if it was in canonical form already


def read_transaction(
    text: str, operations: Mapping[str, Operands], limits: Limits, *, with_values: bool = True
) -> TransactionCommand:
    """Return the transaction after `txn `; `operations` are the allowed ones. Without values, each
    condition and operation ends before its value, which is not read: a value may have a megabyte,
    and rights depend on keys alone.

    Raises:
        ProtocolError: the transaction has a mistake; the message names the place.
    """
    text = text.strip(" ")
    if len(text) <= min(LONG, limits.value_bytes):
        plain = _read_plain(text, operations, limits)
        if plain is not None:
            return plain
    words = text.split(" ")
    if words == [""]:
        raise ProtocolError(f"the form is: txn {FORM}. {_NOTHING}")
    if "" in words:
        raise _wrong(words, words.index("") - 1, 1, f"two spaces follow. {_ONE_WORD}")
    conditions: list[Condition] = []
    commands: dict[str, list[str]] = {"then": [], "else": []}
    for section, places in _divide(words).items():
        for begin, end in places:
            if section == "if":
                condition = _read_condition(words, begin, end, limits, with_values=with_values)
                conditions.append(condition)
            else:
                command = _read_operation(
                    words, begin, end, operations, limits, with_values=with_values
                )
                commands[section].append(command)
    scans = len([condition for condition in conditions if condition.is_on_prefix])
    scans += _clears(commands["then"]) + _clears(commands["else"])
    if scans > TRANSACTION_SCANS:
        why = "conditions on a prefix and clears at most: each looks at all keys"
        raise ProtocolError(f"a transaction has {TRANSACTION_SCANS} {why}. {_NOTHING}")
    return TransactionCommand(conditions, commands["then"], commands["else"])


def _read_plain(
    text: str, operations: Mapping[str, Operands], limits: Limits
) -> TransactionCommand | None:
    """Return a short transaction of the most frequent conditions and operations in canonical form;
    None for any other one. `read_transaction` returns the same in three times the time."""
    conditions: list[Condition] = []
    then: list[str] = []
    otherwise: list[str] = []
    place = _read_plain_conditions(text, limits, conditions) if text.startswith("if ") else 0
    commands = then
    while match := _plain_operation(text, place):
        lease, verb, key, value, divider = match.groups()
        command = _plain_command(operations.get(verb), verb, key, value)
        if not command or len(key) > limits.key_bytes:
            return None
        if lease is not None:
            if verb not in UNDER_LEASE:
                return None
            command = f"{UNDER} {lease} {command}"
        commands.append(command)
        if divider is None:
            return TransactionCommand(conditions, then, otherwise, text)
        if divider == "else":
            if commands is otherwise or not conditions:
                return None
            commands = otherwise
        place = match.end()
    return None


def _read_plain_conditions(text: str, limits: Limits, conditions: list[Condition]) -> int:
    """Add the conditions, and return the place of the first operation; the end of the text if a
    condition is not plain."""
    place = len("if ")
    while match := _plain_condition(text, place):
        key, test, test_since, since, comparison, value, divider = match.groups("")
        if len(key) > limits.key_bytes:
            break
        test, value = test or test_since or comparison, value.replace(_SPACE, " ")
        conditions.append(Condition(key, test, value, int(since or 0)))
        place = match.end()
        if divider == "then":
            return place
    return len(text)


def _plain_command(form: Operands | None, verb: str, key: str, value: str | None) -> str:
    """Return an operation as a command, "" for one of another form."""
    if value is None:
        return f"{verb} {key}" if form is KEY or form is KEY_BY else ""
    if form is KEY_VALUE:
        return f"{verb} {key} {value.replace(_SPACE, ' ')}"
    return f"{verb} {key} {value}" if form is KEY_BY and is_whole_number(value) else ""


def format_transaction(txn: TransactionCommand, operations: Mapping[str, Operands]) -> str:
    """Return the canonical form of a transaction that was read with its values, without `txn `."""
    if txn.typed:
        return txn.typed
    then = " ; ".join([_operation_words(command, operations) for command in txn.then])
    if not txn.conditions:
        return then
    line = f"if {' ; '.join(map(format_condition, txn.conditions))} then {then}"
    if not txn.otherwise:
        return line
    otherwise = [_operation_words(command, operations) for command in txn.otherwise]
    return f"{line} else {' ; '.join(otherwise)}"


def _clears(commands: Sequence[str]) -> int:
    return len([command for command in commands if command.startswith(f"{CLEAR} ")])


def format_word(text: str) -> str:
    """Return a key or value in the form for a transaction."""
    return _as_word(escape(text, key=True))


def _as_word(word: str) -> str:
    return rf"\x{ord(word[0]):02x}{word[1:]}" if word in DIVIDERS else word or EMPTY


def _divide(words: list[str]) -> dict[str, list[tuple[int, int]]]:
    """Return the positions of the conditions and operations, by the word that precedes them."""
    section = "if" if words[0] == "if" else "then"
    items: dict[str, list[tuple[int, int]]] = {section: []}
    begin = int(words[0] in ("if", "then"))
    for place in range(begin, len(words) + 1):
        word = words[place] if place < len(words) else ""
        if word and word not in DIVIDERS:
            continue
        if place == begin:
            missing = "a condition" if section == "if" else "an operation"
            raise _wrong(words, place, 1, f"{missing} is missing before it. {_NOTHING}")
        items[section].append((begin, place))
        if len(items[section]) > TRANSACTION_ITEMS:
            limit = f"at most {TRANSACTION_ITEMS} may follow {section}. {_NOTHING}"
            raise _wrong(words, begin, place - begin, limit)
        if word in _FOLLOWS.values():
            if _FOLLOWS.get(section) != word or (word == "else" and "if" not in items):
                form = f"it is out of place. The form is: txn {FORM}. {_NOTHING}"
                raise _wrong(words, place, 1, form)
            section = word
            items[section] = []
        begin = place + 1
    if section == "if":
        raise _wrong(words, len(words), 1, f"then is missing after the conditions. {_NOTHING}")
    return items


def _read_condition(
    words: list[str], begin: int, end: int, limits: Limits, *, with_values: bool
) -> Condition:
    try:
        match words[begin:end]:
            case [key, ("=" | "!=") as test, _] if not with_values:
                condition = Condition(_key(key, limits), test)
            case [key, ("=" | "!=") as test, value]:
                operands = f"{_typed(key)} {_typed(value)}"
                _, key, value = KEY_VALUE.read("set", operands, limits).split(" ", 2)
                condition = Condition(key, test, value)
            case [key, ("absent" | "exists") as test]:
                condition = Condition(_key(key, limits), test)
            case [key, ("absent" | "unchanged") as test, "since", index]:
                why = f"that is not an index from `stat KEY`. {_NOTHING}"
                _check(is_number(index), words, end, why)
                why = (
                    f"the first entry has the index 1. Without since, it is KEY absent. {_NOTHING}"
                )
                _check(test == "unchanged" or index != "0", words, end, why)
                condition = Condition(_key(key, limits), test, since=int(index))
            case [key, "unchanged", "since", index, "under", lease] if is_number(index):
                why = f"that is not a lease from `stat KEY`, or {NO_LEASE}. {_NOTHING}"
                name = "" if lease == NO_LEASE else lease
                is_lease = lease_in(name) is not None or own_in(name) is not None
                _check(is_lease or not name, words, end, why)
                condition = Condition(_key(key, limits), "unchanged", "", int(index), name)
            case [key, (">" | "<") as test, number]:
                why = f"that is not a {WHOLE_NUMBER}. {_NOTHING}"
                _check(is_whole_number(number), words, end, why)
                condition = Condition(_key(key, limits), test, number)
            case [key, "has", ("keys" | "none") as test]:
                condition = Condition(_key(key, limits), test)
            case _:
                why = f"that is not a condition. {CONDITIONS} is one. {_NOTHING}"
                raise _wrong(words, begin, end - begin, why)
    except ProtocolError as problem:
        raise _placed(words, begin, end, problem) from None
    return condition


def read_conditions(words: list[str], limits: Limits) -> list[Condition]:
    """Return the conditions on keys in the words between `if` and `then`.

    Raises:
        ProtocolError: they have a mistake.
    """
    whole = ["if", *words, "then", "get"]
    conditions = [
        _read_condition(whole, begin, end, limits, with_values=True)
        for begin, end in _divide(whole)["if"]
    ]
    if any([condition.is_on_prefix for condition in conditions]):
        raise ProtocolError(f"these conditions are on keys alone. {_NOTHING}")
    return conditions


def _check(is_right: bool, words: list[str], end: int, why: str) -> None:
    """Raise ProtocolError with the position of the last word before `end`, unless `is_right`."""
    if not is_right:
        raise _wrong(words, end - 1, 1, why)


def format_condition(condition: Condition) -> str:
    """Return the words of a condition in canonical form."""
    item = [_reformatted(condition.key), condition.test]
    if condition.is_on_prefix:
        item.insert(1, "has")
    elif condition.test == "unchanged" or condition.since:
        item += ["since", str(condition.since)]
        item += [] if condition.lease is None else ["under", condition.lease or NO_LEASE]
    elif condition.test not in ("absent", "exists"):
        item.append(_reformatted(condition.value))
    return " ".join(item)


def _read_operation(
    words: list[str],
    begin: int,
    end: int,
    operations: Mapping[str, Operands],
    limits: Limits,
    *,
    with_values: bool,
) -> str:
    """Return an operation as a command."""
    verb = words[begin]
    form = operations.get(verb)
    if form is None:
        *most, last = operations
        can = f"{', '.join(most)} and {last} can"
        raise _wrong(words, begin, 1, f"that can't stand in a transaction; {can}. {_NOTHING}")
    if verb == UNDER and end > begin + 2 and words[begin + 2] != UNDER:  # no nesting
        inner = _read_operation(words, begin + 2, end, operations, limits, with_values=with_values)
        operands = f"{words[begin + 1]} {inner}"
        if not with_values:
            return f"{verb} {operands}"
        return _read_by(form, words, begin, end, operands, limits)
    count, least, is_open = end - begin - 1, len(form.needed), "..." in form.form
    if count < least or (count > len(form.form.split()) and not is_open):
        raise _wrong(words, begin, end - begin, f"the form is: {verb} {form.form}. {_ONE_WORD}")
    if not with_values and (form.ends_in_value or is_open):
        key, *rest = words[begin + 1 : begin + (least + 1 if is_open else count)]
        return " ".join([verb, _key(key, limits), *rest])
    operands = " ".join(map(_typed, words[begin + 1 : end]))
    return _read_by(form, words, begin, end, operands, limits)


def _operation_words(command: str, operations: Mapping[str, Operands]) -> str:
    """Return the words of an operation in canonical form."""
    verb, _, rest = command.partition(" ")
    if verb == UNDER:
        lease, _, inner = rest.partition(" ")
        return f"{verb} {lease} {_operation_words(inner, operations)}"
    form = operations[verb]
    parts = len(form.needed) if "..." in form.form else len(form.form.split()) - 1
    return " ".join([verb, *map(_reformatted, rest.split(" ", parts))])


def _read_by(
    form: Operands, words: list[str], begin: int, end: int, operands: str, limits: Limits
) -> str:
    try:
        return form.read(words[begin], operands, limits)
    except ProtocolError as problem:
        raise _placed(words, begin, end, problem) from None


def _key(word: str, limits: Limits) -> str:
    return KEY.read("get", _typed(word), limits).removeprefix("get ")


def _typed(word: str) -> str:
    """Return a word in a form for a key or a value outside of a transaction."""
    return "" if word == EMPTY else word


def _reformatted(part: str) -> str:
    """Return a key or value in canonical form in the form for a transaction."""
    return _as_word(part.replace(" ", _SPACE))


class _Placed(ProtocolError):
    """An error whose message already names the place."""


def _wrong(words: list[str], place: int, count: int, why: str) -> ProtocolError:
    """Return the error for some words, or for the end."""
    if place == len(words):
        return _Placed(f"at the end of the transaction: {why}")
    near = words[max(0, place - 1) : place + count]
    if glued := next((word for word in near if ";" in word and word != ";"), ""):
        why = f'"{shown(glued)}" is one word: write a space before and after each ; {why}'
    text = shown(" ".join(words[place : place + count]))
    return _Placed(f'at word {place + 1} of the transaction, "{text}": {why}')


def _placed(words: list[str], begin: int, end: int, problem: ProtocolError) -> ProtocolError:
    """Return the problem preceded by its place."""
    if isinstance(problem, _Placed):
        return problem
    why = str(problem)
    why = why if why.endswith(_NOTHING) else f"{why.rstrip('.')}. {_NOTHING}"
    return _wrong(words, begin, end - begin, why)
