"""One line that arrived, turned into a `ParsedLine`; the node is not asked. Pure."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import Final, NamedTuple

from ..raft import spelling
from ..raft.change import Change
from ..raft.levels import FIRST
from ..raft.messages import Answer, Message, PeerError
from .commands import COMMANDS, READ, WRITE, Handling, Request, Work, read_request
from .membercommands import read_change
from .operands import KEY, KEY_VALUE, Limits, not_understood
from .protocol import (
    LONG,
    SENDER,
    ProtocolError,
    decode_line,
    read_long_line,
    split_sender,
)


class Reading(NamedTuple):
    """One way to serve reads; a run of equal ones shares a confirmation."""

    by_lease: bool = False  # under the leader's lease while it has one (thesis §6.4.1)
    may_ask: bool = False  # a follower asks the leader for its read index instead of naming it
    by_clock: bool = False  # after a round the leader answers by its clock of leases


_READINGS: Final = tuple(
    tuple(Reading(lease, ask) for ask in (False, True)) for lease in (False, True)
)
BY_ROUND: Final = _READINGS[False][False]
BY_CLOCK: Final = Reading(by_clock=True)
LEVEL_QUESTION: Final = "Level "  # net/levels.py
_WORD: Final = 32  # characters, more than a first word has: what follows is not copied for it
PROOF_LINES: Final = ("Prove ", "Proof ")  # access/proof.py
# A command on one key, with a value or without one, that stands for itself: no escape, printable
# ASCII. To find that by one expression takes half of the time of a closer look, if it is short.
PLAIN_BYTES: Final = 512
_plain: Final = re.compile(rf"(?:{SENDER})?(([a-z]+) ([!-\[\]-~]+)( [ -\[\]-~]*|))").fullmatch
_OF_KEY: Final = {verb: row for verb, row in COMMANDS.items() if row.operands is KEY}
_WITH_VALUE: Final = {verb: row for verb, row in COMMANDS.items() if row.operands is KEY_VALUE}
# Those of them that any cluster has, and that never take long.
_SIMPLE: Final = frozenset(
    [
        verb
        for verb, row in {**_OF_KEY, **_WITH_VALUE}.items()
        if row.level == FIRST and row.work is Work.SHORT and row.handling in (READ, WRITE)
    ]
)


class Readings(NamedTuple):
    """The ways of reading that a node was started with."""

    mode: str = "index"
    at_followers: bool = False

    def kind_of(self, kind: str, asked_for: str) -> tuple[str, Reading]:
        """Return the kind of a "read" or a "show": a "write" (its own entry) or "local"
        where it is not to be confirmed as it is; and how it is confirmed.

        `asked_for` is the mode after `read` in the request, "" if there is none. A show is
        never an entry: its reply would be as long as the state machine.
        """
        mode = asked_for or self.mode
        if mode == "local":
            return "local", BY_ROUND
        if mode == "log" and kind == "read":
            return "write", BY_ROUND
        return kind, _READINGS[mode == "lease"][self.at_followers or asked_for == "index"]


@dataclass(slots=True)  # made for each line: in half of the time of a NamedTuple
class ParsedLine:
    """One line; lines of one `kind` in a row are served together.

    The kinds: "peer", "write", "read", "show", "members", "backup", "watch", "observe", "login";
    "control", an order, which a node that obeys some makes of a refused line; "level", the question
    of a peer for this build; "proof", a step of a peer's proof; "local", which the connection's
    thread answers; "refused"; and "garbled", a line without a sender or a text.
    """

    kind: str
    request: Request
    text: str = ""  # the line after its sender
    message: Message | None = None  # of a peer, also one that is refused for what it is
    problem: str = ""  # the reason to refuse the line
    reading: Reading = BY_ROUND
    change: Change | None = None
    reply: str = ""  # to a local line, if it is known already


def parse(line: bytes, limits: Limits, readings: Readings, me: str) -> ParsedLine:
    """Return what a line means to the node `me`; the newline at its end is off."""
    if len(line) <= PLAIN_BYTES and (found := _plain(line.decode("latin-1"))):
        sender, number, text, verb, key, rest = found.groups("")
        row = (_WITH_VALUE if rest else _OF_KEY).get(verb)
        fits = len(key) <= limits.key_bytes and len(rest) <= limits.value_bytes
        if row is not None and fits:
            request = Request(sender, number, verb, text, "", row.level)
            return _parse_request(request, text, row.handling, readings)
    return _parse_closely(line, limits, readings, me)


def take_simple(
    lines: deque[bytes], count: int, readings: Readings, ways: tuple[str, Reading] | None
) -> tuple[tuple[str, Reading] | None, list[tuple[str, str, str]]]:
    """Take at most `count` of the next lines, as long as they are plain commands on one key, all of
    one kind, "read" or "write", and confirmed alike. None of them is longer than a limit, or
    refused by a rule. Return these ways, which are given unless these lines are the first ones,
    and sender, request's number and command of each.

    It is what `parse` returns of each. These are most lines of a busy node, and nothing is made
    for them but what goes into their batch.
    """
    taken: list[tuple[str, str, str]] = []
    before, had_value = "", False
    while lines and len(taken) < count:
        line = lines[0]
        found = _plain(line.decode("latin-1")) if len(line) <= PLAIN_BYTES else None
        if found is None:
            break
        sender, number, command, verb, rest = found.group(1, 2, 3, 4, 6)
        has_value = rest != ""
        if verb != before or has_value != had_value:
            row = (_WITH_VALUE if has_value else _OF_KEY).get(verb)
            if row is None or verb not in _SIMPLE:
                break
            own = readings.kind_of("read", "") if row.handling is READ else ("write", BY_ROUND)
            if own[0] == "local" or own != (ways or own):
                break
            ways, before, had_value = own, verb, has_value
        taken.append((sender or "", number or "", command))
        lines.popleft()
    return ways, taken


def _parse_closely(line: bytes, limits: Limits, readings: Readings, me: str) -> ParsedLine:
    """Return the same of any line."""
    try:
        if len(line) > LONG and (read := read_long_line(line)) is not None:
            sender, number, text = read
        elif "@" in (text := decode_line(line)):
            sender, number, text = split_sender(text)
        else:
            sender, number, text = "", "", text.lstrip(" ")
    except ProtocolError as problem:
        return ParsedLine("garbled", Request("", "", "", ""), problem=str(problem))
    # No command begins with a capital, and each word of a peer does.
    if sender and "A" <= text[:1] <= "Z":
        other = _parse_other(sender, number, text, me)
        if other is not None:
            return other
    try:
        request = read_request(sender, number, text, limits)
    except ProtocolError as problem:
        speaker = Request(sender, number, "", "")
        return ParsedLine("refused", speaker, text, problem=str(problem))
    return _parse_request(request, text, COMMANDS[request.verb].handling, readings)


def _parse_other(sender: str, number: str, text: str, me: str) -> ParsedLine | None:
    """Return a line of a peer; None for the rest."""
    if text[:_WORD].partition(" ")[0] in spelling.FIRST_WORDS:
        speaker = Request(sender, number, "", "")
        try:
            message = spelling.read(sender, me, text)
        except PeerError as problem:
            return ParsedLine("peer", speaker, text, problem=str(problem))
        misplaced = ""
        if isinstance(message, Answer):
            misplaced = "an answer is only taken on the connection that asked"
        return ParsedLine("peer", speaker, text, message, misplaced)
    if text.startswith(LEVEL_QUESTION):
        return ParsedLine("level", Request(sender, number, "", ""), text)
    if text.startswith(PROOF_LINES):  # a node without a secret does not know them
        unknown = not_understood(text.rstrip(" "))
        return ParsedLine("proof", Request(sender, number, "", ""), text, problem=unknown)
    return None


def _parse_request(
    request: Request, text: str, handling: Handling, readings: Readings
) -> ParsedLine:
    """Return what kind of request it is."""
    if handling is WRITE:  # nearly always
        return ParsedLine("write", request, text)
    if handling.kind == "members":
        try:
            return ParsedLine("members", request, text, change=read_change(request.command))
        except ProtocolError as problem:
            return ParsedLine("refused", request, text, problem=str(problem))
    if not handling.takes_mode:
        reading = BY_CLOCK if handling.is_timed else BY_ROUND
        return ParsedLine(handling.kind, request, text, None, "", reading)
    kind, reading = readings.kind_of(handling.kind, request.read)
    return ParsedLine(kind, request, text, None, "", reading)


def asks_status(line: bytes) -> bool:
    """Whether a line asks for the status of a node, as tools do all the time."""
    return line.rpartition(b"@")[2].strip() == b"status"
