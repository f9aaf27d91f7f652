"""The entries of the log, the JSON list of them that an AppendEntries carries, and the snapshot
that stands for the first of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import count, repeat
from json.encoder import encode_basestring
from operator import itemgetter
from typing import NamedTuple

_FIELDS = itemgetter("index", "term", "command")
_NOT_PLAIN = bytes(code for code in range(256) if not 0x20 <= code < 0x7F)
NAME = r"[A-Za-z][A-Za-z0-9_.-]{0,63}"  # of a server or a client
NUMBER_MAX = 2**63 - 1  # the largest number anywhere: a term, an index, a value that is counted


class Entry(NamedTuple):
    """One line of the log: `index term command`. Indexes begin at 1, terms at 1."""

    index: int  # type: ignore[assignment]  # the field's word; tuple.index is not used
    term: int
    command: str


class Snapshot(NamedTuple):
    """A snapshot, distinct from any other: the state after entry `index` of `term` (paper §7).

    `size` is the bytes of its file, `crc` their CRC-32: two servers may spell one state in two
    ways, and a transfer must not mix them.
    """

    index: int  # type: ignore[assignment]  # tuple.index is not used
    term: int
    size: int
    crc: int


def is_plain(text: str) -> bool:
    """Return whether a text is printable ASCII: of a long one in a quarter of the time that
    `isprintable` takes."""
    return text.isascii() and len(text.encode().translate(None, _NOT_PLAIN)) == len(text)


def entries_of(first: int, term: int, commands: Sequence[str]) -> list[Entry]:
    """Return entries from index `first` on, all of one term.

    As by `Entry(…)` for each, but in C, which is what a third of a busy leader's time went to.
    """
    if len(commands) == 1:
        return [Entry(first, term, commands[0])]
    return list(map(tuple.__new__, repeat(Entry), zip(count(first), repeat(term), commands)))


def is_run(indexes: Sequence[int], terms: Sequence[int], first: int) -> bool:
    """Whether entries follow one another from index `first` on, all of one term."""
    in_order = tuple(range(first, first + len(indexes)))
    return indexes == in_order and terms.count(terms[0]) == len(terms)


def spell_entries(entries: Sequence[Entry]) -> str:
    """Return the list of these entries."""
    text = "".join([entry[2] for entry in entries])
    if '"' in text or "\\" in text or not (is_plain(text) or text.isprintable()):
        spelled = [
            f'{{"index": {index}, "term": {term}, "command": {encode_basestring(command)}}}'
            for index, term, command in entries
        ]
    else:  # nothing that JSON spells otherwise
        spelled = [
            f'{{"index": {index}, "term": {term}, "command": "{command}"}}'
            for index, term, command in entries
        ]
    return "[" + ", ".join(spelled) + "]"


def read_entries(listed: str, prev_index: int, prev_term: int, term: int) -> list[Entry]:
    """Return the entries of a JSON list that go on, index by index, from the one before.

    A number may also be given as the text of its digits, as the course programs did.

    Raises:
        ValueError: it has another form; the message explains what is wrong.
    """
    try:
        items = json.loads(listed)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the entries of AppendEntries are not a JSON list: {error}") from None
    entries = _sound_entries(items, prev_index, prev_term, term)
    if entries is not None:
        return entries
    entries = []
    for expected, item in enumerate(items, start=prev_index + 1):
        try:
            index, entry_term, command = item["index"], item["term"], item["command"]
        except (TypeError, KeyError):
            raise ValueError('an entry is {"index": I, "term": T, "command": "…"}') from None
        if type(index) is not int or type(entry_term) is not int:
            index, entry_term = _number(index), _number(entry_term)
        if index != expected:
            raise ValueError(f"entry {index} where {expected} must follow")
        if not prev_term <= entry_term <= term or entry_term == 0:
            raise ValueError(f"entry {index} has term {entry_term}, not from {prev_term} to {term}")
        if type(command) is not str or not is_one_line(command):
            raise ValueError(f"the command of entry {index} is not one line of plain text")
        prev_term = entry_term
        entries.append(Entry(index, entry_term, command))
    if entries and entries[-1].index > NUMBER_MAX:
        raise ValueError(f"index {entries[-1].index} is beyond 2^63-1")
    return entries


def _sound_entries(items: object, prev_index: int, prev_term: int, term: int) -> list[Entry] | None:
    """Return the entries if all are as a sound leader sends them, in plain characters. None: each
    needs a closer check. To check all at once takes a third of the time."""
    try:
        indexes, terms, commands = zip(*map(_FIELDS, items))  # type: ignore  # noqa: B905
        text = "".join(commands)
    except (TypeError, KeyError, ValueError):
        return None
    first, last = prev_index + 1, prev_index + len(indexes)
    if not (
        {*map(type, indexes), *map(type, terms)} == {int}  # first: compiled code takes no others
        and is_run(indexes, terms, first)
        and max(prev_term, 1) <= terms[0] <= term
        and last <= NUMBER_MAX
        and is_plain(text)
        and all(commands)
    ):
        return None
    return entries_of(first, terms[0], commands)


def is_one_line(command: str) -> bool:
    """Return whether a command can stand in a line of the log: no control characters, UTF-8."""
    if command.isascii() and command.isprintable():
        return bool(command)
    try:
        command.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return command != "" and not any(c < " " or "\x7f" <= c <= "\x9f" for c in command)


def _number(text: object) -> int:
    if not (isinstance(text, str) and text.isascii() and text.isdigit() and len(text) <= 19):
        raise ValueError(f"not a number: {str(text)[:40]!r}")
    return int(text)
