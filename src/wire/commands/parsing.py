"""The parsing of a received line into a `ParsedLine`, without the state of the node. Pure."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import Final, NamedTuple

from ...raft.change import Change
from ...raft.messages import Answer, Message, PeerError
from .. import peer_lines
from ..operands.operands import KEY, KEY_VALUE, Limits, not_understood
from ..protocol import (
    LONG,
    SENDER,
    ProtocolError,
    decode_line,
    read_long_line,
    split_sender,
)
from .command_table import (
    BEYOND_FLOOR,
    COMMANDS,
    READ,
    WRITE,
    Handling,
    Request,
    Work,
    read_request,
)
from .member_commands import read_change


class Reading(NamedTuple):
    """A way to serve reads; consecutive reads with the same way share a confirmation."""

    by_lease: bool = False  # under the leader's lease while it has one (thesis §6.4.1)
    may_ask: bool = False  # a follower asks for the read index, instead of naming its leader
    by_clock: bool = False  # after a round the leader answers by its lease clock


_READINGS: Final = tuple(
    tuple(Reading(lease, ask) for ask in (False, True)) for lease in (False, True)
)
BY_ROUND: Final = _READINGS[False][False]
BY_CLOCK: Final = Reading(by_clock=True)
BUILD_QUESTION: Final = "Level "  # net/peers/build_exchange.py
_WORD: Final = 32  # characters, more than any first word, so that the rest is not copied
PROOF_LINES: Final = ("Prove ", "Proof ")  # access/proof.py
# A canonical command on one key, with or without a value: printable ASCII without escapes. For a
# short line, this single expression takes half the time of full parsing.
PLAIN_BYTES: Final = 512
_plain: Final = re.compile(rf"(?:{SENDER})?(([a-z]+) ([!-\[\]-~]+)( [ -\[\]-~]*|))").fullmatch
_OF_KEY: Final = {verb: row for verb, row in COMMANDS.items() if row.operands is KEY}
_WITH_VALUE: Final = {verb: row for verb, row in COMMANDS.items() if row.operands is KEY_VALUE}
# The verbs at the floor that are always fast.
_SIMPLE: Final = frozenset(
    [
        verb
        for verb, row in {**_OF_KEY, **_WITH_VALUE}.items()
        if verb not in BEYOND_FLOOR and row.work is Work.SHORT and row.handling in (READ, WRITE)
    ]
)


class ReadSettings(NamedTuple):
    """The options of a node for reads."""

    mode: str = "index"
    at_followers: bool = False

    def kind_of(self, kind: str, asked_for: str) -> tuple[str, Reading]:
        """Return the kind of a "read" or a "show", and how it is confirmed. The kind changes to
        "write" (its own entry) or "local" if the mode says so.

        `asked_for` is the mode after `read` in the request, "" if there is none. A show is never an
        entry, since its reply would be as long as the state machine.
        """
        mode = asked_for or self.mode
        if mode == "local":
            return "local", BY_ROUND
        if mode == "log" and kind == "read":
            return "write", BY_ROUND
        return kind, _READINGS[mode == "lease"][self.at_followers or asked_for == "index"]


@dataclass(slots=True)  # created for each line: takes half the time of a NamedTuple
class ParsedLine:
    """A parsed line; consecutive lines of one `kind` are served together.

    The kinds are "peer", "write", "read", "show", "members", "backup", "watch", "observe" and
    "login"; "control", an order, into which a node with a controller turns a refused line; "build",
    a peer's question for this build; "proof", a step of a peer's proof; "local", which the
    connection's thread answers; "tried", a write that may be too much for one entry; "refused"; and
    "garbled", a line without a sender or a text.
    """

    kind: str
    request: Request
    text: str = ""  # the line after its sender
    message: Message | None = None  # a peer's message, even if its type is refused here
    problem: str = ""  # the reason to refuse the line
    reading: Reading = BY_ROUND
    change: Change | None = None
    reply: str = ""  # to a local line, if already known


def parse(line: bytes, limits: Limits, readings: ReadSettings, me: str) -> ParsedLine:
    """Return the parsed line, received by the node `me`, without its newline."""
    if len(line) <= PLAIN_BYTES and (match := _plain(line.decode("latin-1"))):
        sender, number, text, verb, key, rest = match.groups("")
        row = (_WITH_VALUE if rest else _OF_KEY).get(verb)
        fits = len(key) <= limits.key_bytes and len(rest) <= limits.value_bytes
        if row is not None and fits:
            request = Request(sender, number, verb, text)
            return _parse_request(request, text, row.handling, readings)
        return _parse_text(sender, number, text, limits, readings)
    return _parse_closely(line, limits, readings, me)


def take_simple(
    lines: deque[bytes],
    count: int,
    plain_read: tuple[str, Reading],
    ways: tuple[str, Reading] | None,
) -> tuple[tuple[str, Reading] | None, list[tuple[str, str, str]]]:
    """Take at most `count` of the next lines, as long as they are plain commands on one key with
    the same kind, "read" or "write", and the same way of confirmation. None of them exceeds a limit
    or breaks a rule. Return that kind and way, which `ways` sets unless these lines are the first
    ones, and the sender, request number and command of each line. `plain_read` is the kind and way
    of a read that names no mode.

    The result equals the result of `parse` for each line. Most lines of a busy node have this form,
    so no objects are created for them except the objects in their batch.
    """
    commands: list[tuple[str, str, str]] = []
    before, had_value = "", False
    while lines and len(commands) < count:
        line = lines[0]
        match = _plain(line.decode("latin-1")) if len(line) <= PLAIN_BYTES else None
        if match is None:
            break
        sender, number, command, verb, rest = match.group(1, 2, 3, 4, 6)
        has_value = rest != ""
        if verb != before or has_value != had_value:
            row = (_WITH_VALUE if has_value else _OF_KEY).get(verb)
            if row is None or verb not in _SIMPLE:
                break
            own = plain_read if row.handling is READ else ("write", BY_ROUND)
            if own[0] == "local" or own != (ways or own):
                break
            ways, before, had_value = own, verb, has_value
        commands.append((sender or "", number or "", command))
        lines.popleft()
    return ways, commands


def _parse_closely(line: bytes, limits: Limits, readings: ReadSettings, me: str) -> ParsedLine:
    """Return the parsed line for any form of line."""
    try:
        if len(line) > LONG and (read := read_long_line(line)) is not None:
            sender, number, text = read
        elif "@" in (text := decode_line(line)):
            sender, number, text = split_sender(text)
        else:
            sender, number, text = "", "", text.lstrip(" ")
    except ProtocolError as problem:
        return ParsedLine("garbled", Request("", "", "", ""), problem=problem.refusal)
    # No command begins with a capital letter, but every message of a peer does.
    if sender and "A" <= text[:1] <= "Z":
        other = _parse_other(sender, number, text, me)
        if other is not None:
            return other
    return _parse_text(sender, number, text, limits, readings)


def _parse_text(
    sender: str, number: str, text: str, limits: Limits, readings: ReadSettings
) -> ParsedLine:
    """Return the parsed line for a text that is not a peer's."""
    try:
        request = read_request(sender, number, text, limits)
    except ProtocolError as problem:
        speaker = Request(sender, number, "", "")
        return ParsedLine("refused", speaker, text, problem=problem.refusal)
    return _parse_request(request, text, COMMANDS[request.verb].handling, readings)


def _parse_other(sender: str, number: str, text: str, me: str) -> ParsedLine | None:
    """Return the parsed line of a peer; None for any other line."""
    if text[:_WORD].partition(" ")[0] in peer_lines.FIRST_WORDS:
        speaker = Request(sender, number, "", "")
        try:
            message = peer_lines.read(sender, me, text)
        except PeerError as problem:
            return ParsedLine("peer", speaker, text, problem=str(problem))
        misplaced = ""
        if isinstance(message, Answer):
            misplaced = "an answer is only taken on the connection that asked"
        return ParsedLine("peer", speaker, text, message, misplaced)
    if text.startswith(BUILD_QUESTION):
        return ParsedLine("build", Request(sender, number, "", ""), text)
    if text.startswith(PROOF_LINES):  # unknown to a node without a secret
        unknown = not_understood(text.rstrip(" "))
        return ParsedLine("proof", Request(sender, number, "", ""), text, problem=unknown)
    return None


def _parse_request(
    request: Request, text: str, handling: Handling, readings: ReadSettings
) -> ParsedLine:
    """Return the parsed line of a request."""
    if handling is WRITE:  # nearly always
        return ParsedLine("write", request, text)
    if handling.kind == "members":
        try:
            return ParsedLine("members", request, text, change=read_change(request.command))
        except ProtocolError as problem:
            return ParsedLine("refused", request, text, problem=problem.refusal)
    if not handling.takes_mode:
        reading = BY_CLOCK if handling.is_timed else BY_ROUND
        return ParsedLine(handling.kind, request, text, None, "", reading)
    kind, reading = readings.kind_of(handling.kind, request.read)
    return ParsedLine(kind, request, text, None, "", reading)


def asks_status(line: bytes) -> bool:
    """Whether a line asks for the status of a node, which tools do often."""
    return line.rpartition(b"@")[2].strip() == b"status"
