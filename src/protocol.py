"""Lines between people, clients and nodes: names, escapes, requests, replies. Pure.

A message is one line, `NAME@MESSAGE` or `NAME#ID@MESSAGE`; docs/protocol.md is the user's view.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from raftline.escapes import ProtocolError, escape, shown, unescape

__all__ = [
    "COMMANDS", "HELP", "NOT_LEADER", "NOT_UNDERSTOOD", "NO_LEADER", "OUTCOME_UNKNOWN", "Limits",
    "ProtocolError", "Request", "decode_line", "error", "escape", "leader_named_in",
    "looks_foreign", "not_leader", "outcome_unknown", "read_request", "reply_line",
    "show_operands", "shown", "split_sender", "unescape",
]  # fmt: skip

COMMANDS = "get KEY, set KEY VALUE, delete KEY, show, help"
HELP = (
    "HELP response: get KEY | set KEY VALUE | delete KEY | show [PREFIX] [after KEY] | status |"
    r" help. A value is the rest of the line; a space inside a key is written \s, a newline \n,"
    r" a backslash \\, any other byte \xNN. NAME@ or NAME#ID@ may stand before a command."
)
NOT_UNDERSTOOD = "I don't understand: "
NOT_LEADER = "Sorry, I am not the leader."
NO_LEADER = "Sorry, I know of no leader. Try again."
OUTCOME_UNKNOWN = "Sorry, outcome unknown: "

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}", re.ASCII)
_ID = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_LARGEST_ID = 2**63 - 1
_LEADER = re.compile(r"Last leader I heard from is: (\S+) \(\[?([^\s\]]+)\]?:([0-9]{1,5})\)$")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
# RFC 854: IAC, then an option's negotiation, a sub-negotiation, or a command of one byte. FF
# before any other byte is not telnet but a byte that is not UTF-8, and is refused as that.
# Taken off only before a line, or behind its \r: in between it would take bytes out of a value.
_TELNET = re.compile(
    rb"(?:\A|(?<=\r))(?:\xff(?:[\xfb-\xfe].|\xfa.*?\xff\xf0|[\xf0-\xf9]))+", re.DOTALL
)
_TELNET_TAKES_BACK = (b"\xff\xf4", b"\xff\xf8")  # Ctrl-C, erase line
_HTTP = re.compile(rb"[A-Z]+ \S+ HTTP/[0-9]")


class Request(NamedTuple):
    """One understood command. `command` is its one canonical spelling, as it stands in the log."""

    sender: str  # "" for an anonymous person
    id: str  # "" where none was given
    verb: str
    command: str


class Limits(NamedTuple):
    """How long keys and values may be, in bytes as they are after unescaping."""

    key_bytes: int = 1024
    value_bytes: int = 1 << 20

    @property
    def line_bytes(self) -> int:
        """The longest line to accept: key and value with every byte escaped, name, id, verb."""
        return 4 * (self.key_bytes + self.value_bytes) + 256

    @property
    def line_too_long(self) -> str:
        """What to answer, behind `Sorry, `, to a line over `line_bytes`."""
        return (
            f"this line is longer than {self.line_bytes} bytes; nothing of it was done. A key has"
            f" at most {self.key_bytes} bytes, a value {self.value_bytes}."
        )


def decode_line(raw: bytes) -> str:
    """Return the text of one line (its newline already off), without what telnet adds to it.

    One `\\r` at the end goes; so do telnet's negotiations; its Ctrl-C takes back what was typed
    before. A raw tab stays.

    Raises:
        ProtocolError: a byte is not UTF-8, or a control character; the message spells it.
    """
    if raw[-1:] == b"\r":
        raw = raw[:-1]
    try:
        text = raw.decode()
        if text.isprintable():
            return text
    except UnicodeDecodeError:
        text = _decode_slowly(raw)
    control = _CONTROL.search(text)
    if control:
        place = len(text[: control.start()].encode()) + 1
        raise ProtocolError(
            f"byte {place} of this line is a raw control character;"
            f" write it as {escape(control[0], key=False)}"
        )
    return text


def _decode_slowly(raw: bytes) -> str:
    taken_back = max(raw.rfind(command) for command in _TELNET_TAKES_BACK)
    if taken_back >= 0:
        raw = raw[taken_back + 2 :]
    raw = _TELNET.sub(b"", raw).removesuffix(b"\r")  # telnet may negotiate behind the \r
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError(
            f"byte {error.start + 1} of this line is not UTF-8;"
            f" write it as \\x{raw[error.start]:02x}"
        ) from None


def looks_foreign(raw: bytes) -> str | None:
    """Return what to answer, behind `Sorry, `, to a line of another protocol; else None."""
    if raw[:2] == b"\x16\x03":
        protocol = "TLS"
    elif raw[:4] == b"SSH-":
        protocol = "SSH"
    elif _HTTP.match(raw):
        protocol = "HTTP"
    else:
        return None
    return f"this port speaks lines of text, not {protocol}. Try: nc HOST PORT, then get KEY"


def split_sender(line: str) -> tuple[str, str, str]:
    """Return (name, id, message); name and id are "" where the line does not give them.

    The first `@` divides, if it stands in the first word: keys and values may hold others.
    Spaces before the line are dropped.

    Raises:
        ProtocolError: what stands before the `@` is no name, or no name and id.
    """
    line = line.lstrip(" ")
    before, at, message = line.partition("@")
    if not at or " " in before:
        return "", "", line
    name, hash_sign, request_id = before.partition("#")
    if not _NAME.fullmatch(name):
        raise ProtocolError(
            f'"{shown(name)}" is no name. A name is a letter, then letters, digits, _ . or -,'
            " at most 64 in all: client4@get KEY"
        )
    if hash_sign and (not _ID.fullmatch(request_id) or int(request_id) > _LARGEST_ID):
        raise ProtocolError(
            f'"{shown(request_id)}" is no request id. An id is a number from 0 to {_LARGEST_ID}'
            " without leading zeros: client4#17@get KEY"
        )
    return name, request_id, message


def read_request(sender: str, request_id: str, message: str, limits: Limits) -> Request:
    """Return the command in canonical spelling, so that two spellings of a key are one key.

    Spaces before the command are dropped, and after it unless it ends in a value. A value is
    all that follows the one space behind the key, kept to the byte.

    Raises:
        ProtocolError: no such command, an operand missing or too many, a key or value too long.
    """
    verb, _, operands = message.lstrip(" ").partition(" ")
    if verb == "set":
        command = _read_set(operands, limits)
    elif verb in ("get", "delete"):
        command = f"{verb} {_read_key(verb, operands.rstrip(' '), limits)}"
    elif verb == "show":
        prefix, after = show_operands(message.strip(" "))
        command = verb
        if prefix:
            command += " " + _canonical("key", prefix, limits.key_bytes)
        if after:
            command += " after " + _canonical("key", after, limits.key_bytes)
    elif verb in ("help", "status") and not operands.strip(" "):
        command = verb
    elif verb:
        raise ProtocolError(f"{NOT_UNDERSTOOD}{shown(message.strip(' '))}. Try: {COMMANDS}")
    else:
        raise ProtocolError(f"the line is empty. Try: {COMMANDS}")
    return Request(sender, request_id, verb, command)


def _read_set(operands: str, limits: Limits) -> str:
    key, space, value = operands.partition(" ")
    if not key:
        raise ProtocolError("the key is missing: set KEY VALUE, with one space before the key")
    if not space:
        raise ProtocolError("the value is missing: set KEY VALUE (a space alone: empty value)")
    key = _canonical("key", key, limits.key_bytes)
    return f"set {key} {_canonical('value', value, limits.value_bytes)}"


def _read_key(verb: str, operand: str, limits: Limits) -> str:
    if not operand or operand[0] == " ":
        raise ProtocolError(f"the key is missing: {verb} KEY, with one space before the key")
    if " " in operand:
        raise ProtocolError(rf"{verb} takes one key; a space inside a key is written \s")
    return _canonical("key", operand, limits.key_bytes)


def _canonical(what: str, text: str, limit: int) -> str:
    if "\\" in text or not text.isprintable():
        if what == "key" and "\t" in text:
            raise ProtocolError(r"a tab inside a key is written \t")
        raw = unescape(text)
        text = escape(raw, what == "key")
    else:
        raw = text
    size = len(raw) if raw.isascii() else len(raw.encode("utf-8", "surrogateescape"))
    if size > limit:
        raise ProtocolError(f"the {what} has {size} bytes; the limit is {limit}. Nothing was done.")
    return text


def show_operands(command: str) -> tuple[str | None, str | None]:
    """Return (prefix, after) of `show [PREFIX] [after KEY]`, still escaped.

    `show after` asks for the prefix `after`; `show after k` for what follows the key `k`.

    Raises:
        ProtocolError: the words after `show` have another form.
    """
    match command.split(" "):
        case ["show"]:
            return None, None
        case ["show", prefix] if prefix:
            return prefix, None
        case ["show", "after", after] if after:
            return None, after
        case ["show", prefix, "after", after] if prefix and after:
            return prefix, after
    raise ProtocolError(r"show takes [PREFIX] [after KEY]; a space inside a key is written \s")


def error(text: str) -> str:
    """Return the reply that says an error; every error begins so, and nothing else does."""
    return "Sorry, " + text


def not_leader(name: str, host: str, port: int) -> str:
    """Return the reply that sends a client to the leader; nothing was done."""
    shown_host = f"[{host}]" if ":" in host else host
    return f"{NOT_LEADER} Last leader I heard from is: {name} ({shown_host}:{port})"


def leader_named_in(text: str) -> tuple[str, str, int] | None:
    """Return (name, host, port) where the reply is a `not_leader`; else None."""
    found = _LEADER.search(text) if text.startswith(NOT_LEADER) else None
    return (found[1], found[2], int(found[3])) if found else None


def outcome_unknown(reason: str) -> str:
    """Return the reply to a write that may yet take effect, or may not."""
    return OUTCOME_UNKNOWN + reason


def reply_line(name: str, request_id: str, text: str) -> str:
    """Return the reply as one line without its newline, with the request's id if it had one."""
    return f"{name}#{request_id}@{text}" if request_id else f"{name}@{text}"
