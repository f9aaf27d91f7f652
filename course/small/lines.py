"""The lines: `name@message` from clients, and the messages of servers in the same form.

docs/develop/grammar.abnf has each line of raftline in ABNF. This file has those of the small
system, and writes each as raftline does, so both kinds of servers can be in one cluster.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import raft

NUMBER_MAX = 2**63 - 1
LINE_BYTES = 64 << 20

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
MEMBER = re.compile(rf"{NAME.pattern} \S+ [0-9]{{1,5}}")  # of server-configuration.txt
NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
# What no line has: control characters but the tab, and bytes that are not UTF-8
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\udc80-\udcff]")


class Mistake(Exception):
    """A line is invalid; the text, which follows `Sorry, `, says why."""


class Line(NamedTuple):
    """A line `sender#number@text`; `number` has its `#`, and both may be missing."""

    sender: str
    number: str
    text: str


def read_line(raw: bytes) -> Line:
    """Return the parts of a line. Only an @ in its first word divides it.

    Raises:
        Mistake: it is not a line.
    """
    text = raw.removesuffix(b"\n").removesuffix(b"\r").decode(errors="surrogateescape").lstrip(" ")
    if CONTROL.search(text):
        raise Mistake("a line is UTF-8 without control characters; write \\xNN for another byte")
    head, mark, _ = text.split(" ", 1)[0].partition("@")
    if not mark:
        return Line("", "", text)
    sender, hash_sign, number = head.partition("#")
    if not NAME.fullmatch(sender):
        form = "a letter, then letters, digits, _ . or -, at most 64 in all: client4@get KEY"
        raise Mistake(f'"{sender[:60]}" is not a name. A name is {form}')
    if hash_sign and (not NUMBER.fullmatch(number) or int(number) > NUMBER_MAX):
        form = f"a number from 0 to {NUMBER_MAX} without leading zeros: client4#17@get KEY"
        raise Mistake(f'"{number[:60]}" is not a request id. An id is {form}')
    return Line(sender, hash_sign + number, text[len(head) + 1 :])


# --- keys and values: any bytes, written as text --------------------------------------------------

_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|.?)")
_SIGNS = {b"\\": b"\\", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"s": b" "}
_SPELLED = {"\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t", " ": r"\s"}
_TO_SPELL = re.compile(r"[\x00-\x20\\\x7f-\x9f\u2028\u2029\udc80-\udcff]")


def plain(text: str) -> str:
    """Return a key or value without its escapes; a byte that is not UTF-8 is a lone surrogate.

    Raises:
        Mistake: an escape is none.
    """

    def one(found: re.Match[bytes]) -> bytes:
        sign = found[1]
        if sign not in _SIGNS and len(sign) != 3:
            typed = found[0].decode(errors="replace")
            raise Mistake(
                f"{typed} is not an escape. Write \\\\ \\n \\r \\t \\s, or \\xNN for a byte."
            )
        return _SIGNS[sign] if sign in _SIGNS else bytes.fromhex(sign[1:].decode())

    return _ESCAPE.sub(one, text.encode()).decode(errors="surrogateescape")


def canonical(text: str, *, is_key: bool) -> str:
    """Return the one form of a key or a value, which log and replies use.

    Raises:
        Mistake: it has a wrong escape, or is too long.
    """

    def one(found: re.Match[str]) -> str:
        if found[0] == " " and not is_key:
            return " "
        raw = found[0].encode(errors="surrogateescape")
        return _SPELLED.get(found[0]) or "".join(f"\\x{byte:02x}" for byte in raw)

    meant, (kind, most) = plain(text), (("key", 1024) if is_key else ("value", 1 << 20))
    size = len(meant.encode(errors="surrogateescape"))
    if size > most:
        raise Mistake(f"the {kind} has {size} bytes; the limit is {most}. Nothing was done.")
    return _TO_SPELL.sub(one, meant)


# --- requests of clients --------------------------------------------------------------------------

_REQUEST = re.compile(r"(get|set|delete|incr|show)(?: ([^ ]*)(?: (.*))?)?")


def read_request(text: str) -> str:
    """Return a client's request in its one form.

    Raises:
        Mistake: it is not a request.
    """
    text = text.lstrip(" ")
    if not text.startswith("set "):
        text = text.rstrip(" ")  # a value alone may end in spaces
    found = _REQUEST.fullmatch(text)
    if found is None:
        hint = "get KEY, set KEY VALUE, delete KEY, incr KEY [BY], show [PREFIX]"
        said = f"I don't understand: {text[:60]}" if text else "the line is empty"
        raise Mistake(f"{said}. Try: {hint}")
    verb, key, rest = found.groups()
    if text == "show":
        return text
    if not key:
        raise Mistake(f"the key is missing: {verb} KEY, with one space before the key")
    key = canonical(key, is_key=True)
    if verb == "set":
        if rest is None:
            raise Mistake("the value is missing: set KEY VALUE (a space alone: empty value)")
        return f"set {key} {canonical(rest, is_key=False)}"
    if rest is None:
        return f"{verb} {key}"
    if verb != "incr":
        raise Mistake(f"{verb} takes one key; a space inside a key is written \\s")
    if read_integer(rest) is None:
        raise Mistake(f"{rest[:60]} is not a whole number from -(2^63-1) to 2^63-1")
    return f"incr {key} {rest}"


def read_integer(text: str) -> int | None:
    """Return a whole number in its one form, at most 2^63-1 from 0; else None."""
    return int(text) if INTEGER.fullmatch(text) and abs(int(text)) <= NUMBER_MAX else None


# --- messages of servers --------------------------------------------------------------------------

QUESTIONS = ("PreVote", "RequestVote", "AppendEntries")

_N = "([0-9]{1,19})"
_VOTE = re.compile(rf"(PreVote|RequestVote) {_N}-{_N}-{_N}(?: newborn| transfer)?")
_APPEND = re.compile(rf"AppendEntries {_N}-{_N}-{_N}-")
_AFTER_ENTRIES = re.compile(rf"(?: commit {_N} round {_N}(?: vote again {_N}| you lost {_N})?)?")
_VOTED = re.compile(rf"(Count on me|Not this time) term {_N}(?: [A-Za-z-]+(?: [^ :]+)*: .*)?")
_MARKS = rf"(?: lease [0-9]+)?(?: without vote {_N}(?: maybe new)?)?"
_ACCEPTED = re.compile(rf"I am up to date term {_N} index {_N} round {_N}{_MARKS}")
_REJECTED = re.compile(rf"GiveEntriesAfterIndex {_N} term {_N} round {_N}{_MARKS}")


def format_message(message: raft.Message) -> str:
    """Return the line of a message."""
    return f"{message.sender}@{_text_of(message)}\n"


def _text_of(message: Any) -> str:
    one, term = message, message.term
    if isinstance(one, raft.RequestVote):
        return f"RequestVote {term}-{one.last_index}-{one.last_term}"
    if isinstance(one, raft.RequestVoteReply):
        kind = f"term {term}" + " prevote" * one.pre_vote
        return f"Count on me {kind}" if one.granted else f"Not this time {kind} {one.reason}"
    if isinstance(one, raft.AppendEntries):
        listed = [{"index": e.index, "term": e.term, "command": e.command} for e in one.entries]
        entries = json.dumps(listed, ensure_ascii=False)
        end = f"commit {one.commit_index} round {one.round}"
        again = f" vote again {one.vote_again}" if one.vote_again else ""
        return f"AppendEntries {term}-{one.prev_index}-{one.prev_term}-{entries} {end}{again}"
    if isinstance(one, raft.AppendAccepted):
        return f"I am up to date term {term} index {one.index} round {one.round}"
    return f"GiveEntriesAfterIndex {one.index} term {term} round {one.round}"


def read_question(sender: str, to: str, text: str) -> raft.Message:
    """Return the message of a server that asks.

    Raises:
        Mistake: no server of a correct cluster sends it.
    """
    if found := _VOTE.fullmatch(text):
        term, index, last_term = _numbers(found[2], found[3], found[4])
        if last_term < term and (index == 0) == (last_term == 0):
            return raft.RequestVote(sender, to, term, index, last_term, found[1] == "PreVote")
    elif found := _APPEND.match(text):
        term, index, prev_term = _numbers(found[1], found[2], found[3])
        entries, rest = _read_entries(text[found.end() :], index, prev_term, term)
        end = _AFTER_ENTRIES.fullmatch(rest)
        if end and term and prev_term <= term and (index == 0) == (prev_term == 0):
            commit, number = _numbers(end[1], end[2])
            return raft.AppendEntries(sender, to, term, index, prev_term, entries, commit, number)
    raise Mistake(f"malformed {text.split(' ', 1)[0]}, or of a log that can't be")


def _numbers(*texts: str | None) -> list[int]:
    numbers = [int(text or 0) for text in texts]
    if max(numbers) > NUMBER_MAX:
        raise Mistake(f"a number is at most {NUMBER_MAX}")
    return numbers


def _read_entries(text: str, index: int, term: int, most: int) -> tuple[Sequence[raft.Entry], str]:
    """Return the entries of a JSON list, and what follows it: their indexes continue after `index`,
    and their terms never fall."""
    entries: list[raft.Entry] = []
    try:
        listed, end = json.JSONDecoder().raw_decode(text)  # also of numbers beyond 2^53
        given: list[Any] = listed if isinstance(listed, list) else [None]
        for one in given:
            entry = raft.Entry(int(one["index"]), int(one["term"]), one["command"])
            is_next = entry.index == index + 1 and max(term, 1) <= entry.term <= most
            if not is_next or not entry.command.encode() or CONTROL.search(entry.command):
                raise ValueError
            entries.append(entry)
            index, term = entry.index, entry.term
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        raise Mistake(f"entry {index + 1} in the JSON list of AppendEntries is malformed") from None
    return entries, text[end:]


def read_answer(sender: str, to: str, text: str) -> raft.Message | None:
    """Return the message of a server that answers; None for any other line, such as `Sorry, …`."""
    if found := _VOTED.fullmatch(text):
        return raft.RequestVoteReply(sender, to, _numbers(found[2])[0], found[1] == "Count on me")
    if found := _ACCEPTED.fullmatch(text):
        return raft.AppendAccepted(sender, to, *_numbers(found[1], found[2], found[3], found[4]))
    if found := _REJECTED.fullmatch(text):
        return raft.AppendRejected(sender, to, *_numbers(found[2], found[1], found[3], found[4]))
    return None
