"""Lines between people, clients and nodes: escapes, names, framing, and words of replies. Pure.

A message is one line, `NAME@MESSAGE` or `NAME#ID@MESSAGE`; docs/use/protocol.md is the user's view.
Escapes spell keys and values of any bytes inside one printable line.
"""

from __future__ import annotations

import re
from typing import Final

from ..raft import spelling
from ..raft.spelling import NUMBER, NUMBER_MAX, is_printable
from . import escapes

NOT_LEADER = "Sorry, I am not the leader."
NO_LEADER = "Sorry, I know of no leader. Try again."
STOPPING = "Sorry, this server is stopping. Nothing was done; try another."
REMOVED = "Sorry, this server was removed from the cluster. Nothing was done; try another."
SHUT_DOWN = "Sorry, this server was shut down by its controller; ask another"
RISING = "Sorry, this cluster is about to reach the level that this needs. Try again."
FULL = "Sorry, too many connections; the last places are for peers. Try later."
TOO_MANY_LOGINS = "Sorry, too many logins at a time. Nothing was done; try again."
TOO_MUCH_WAITS = "Sorry, too many requests wait here. Nothing was done; try again."
NOT_REACHED = "Sorry, this server did not get to this request in time. Nothing was done; try again."
TLS_ALONE = "this port speaks TLS alone."  # a refusal, without its advice to who types
OUTCOME_UNKNOWN = "Sorry, outcome unknown: "
# The answer to a retry. Nobody knows more of it, so it is not asked again.
DONE_ONCE = f"{OUTCOME_UNKNOWN}it took effect once, but its reply is no longer kept"

NAME: Final = re.compile(spelling.NAME, re.ASCII)
_NUMBER: Final = re.compile(rf"0|{NUMBER}")
LONG: Final = 4096  # characters or bytes of a line, of which each copy counts
SENDER: Final = rf"({spelling.NAME})(?:#(0|[1-9][0-9]{{0,17}}))?@"  # and its id, up to 18 digits
_SENDER: Final = re.compile(SENDER.encode())
# What is not seen: controls, formats, spaces of other widths, halves of characters, private ones.
# Each node makes the reply to an entry, and keeps it. So this is not left to `isprintable`: a later
# Python knows more characters.
_UNSEEN: Final = re.compile(
    r"[\x00-\x1f\x7f-\xa0\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u1680\u180e"
    r"\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ud800-\uf8ff\ufeff\ufff0-\ufffb"
    r"\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    r"\U000e0000-\U000e00ff\U000e01f0-\U0010ffff]"
)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
# RFC 854: IAC, then an option's negotiation, or a command of one byte; and a sub-negotiation. FF
# before any other byte is not telnet but a byte that is not UTF-8, and is refused as that.
_TELNET = re.compile(rb"(?:\xff(?:[\xfb-\xfe].|[\xf0-\xf9]))+", re.DOTALL)
_TYPED_BYTES = 64 << 10  # in a longer line nobody negotiates; each piece would take a microsecond
_SUB_BEGIN, _SUB_END = b"\xff\xfa", b"\xff\xf0"
_CTRL_C = b"\xff\xf4\xff\xfd\x06"  # as telnet sends it: what was typed before is taken back
# A web page may choose any token as a method, `show` for example, and a browser sends it as it is.
_HTTP = re.compile(rb"[A-Z]+ \S+ HTTP/[0-9]|[!#$%&'*+.^_`|~0-9A-Za-z-]+ \S+ HTTP/[0-9]\.[0-9]\r\Z")


class ProtocolError(Exception):
    """The message is what follows `Sorry, ` in the reply: the rule broken, and what to do."""


def escape(raw: str, key: bool) -> str:
    """Return the spelling of `raw` inside one line; in a key a space is spelled as well.

    A byte that is not UTF-8 stands in `raw` as a lone surrogate (`surrogateescape`).
    """
    if is_printable(raw) and "\\" not in raw and not (key and " " in raw):
        return raw
    return escapes.spelled(raw, escapes.IN_KEYS if key else escapes.IN_VALUES)


def unescape(text: str) -> str:
    r"""Return what `text` stands for; bytes that are not UTF-8 become lone surrogates.

    `\xNN` are bytes: a run of them that is UTF-8 becomes its characters.

    Raises:
        ProtocolError: a backslash begins no known escape.
    """
    if "\\" not in text:
        return text
    try:
        return escapes.meant(text)
    except escapes.UnknownEscapeError as unknown:
        raise ProtocolError(
            rf"\{shown(str(unknown))} is no escape. Write \\ for a backslash, \n \r \t \s,"
            r" or \xNN for a byte."
        ) from None


def real(text: str) -> str:
    """Return what an escaped text stands for; one that is spelled otherwise stands for itself."""
    try:
        return unescape(text)
    except (ProtocolError, UnicodeError):
        return text


def shown(text: str) -> str:
    """Return `text` fit to be echoed: one printable line of at most 60 characters of it."""
    cut = text if len(text) <= 60 else text[:60] + "..."
    return _UNSEEN.sub(lambda found: escapes.bytes_of(found[0]), cut)


def without_controls(text: str) -> str:
    """Return `text` with control characters spelled, and those that turn its direction, so that a
    terminal can show it as one line.

    Backslashes stay single: this is for text that is escaped already, by someone not trusted.
    """
    return text if text.isprintable() else text.translate(escapes.CONTROLS)


def is_number(text: str) -> bool:
    """Whether a text is a number from 0 to 2^63-1 in plain digits, without leading zeros."""
    return _NUMBER.fullmatch(text) is not None and int(text) <= NUMBER_MAX


# --- lines ---------------------------------------------------------------------------------


def is_begun_name(name: str) -> bool:
    """Whether a session has the form of name that `NAME@session` gives, and nothing else."""
    client, dash, index = name.rpartition("-")
    return bool(client and dash and index.isascii() and index.isdigit())


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
        if is_printable(text):
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
    if len(raw) <= _TYPED_BYTES:
        raw = raw.rpartition(_CTRL_C)[2]
        raw = _without_telnet(raw).removesuffix(b"\r")  # telnet may negotiate after the \r
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError(
            f"byte {error.start + 1} of this line is not UTF-8;"
            f" write it as \\x{raw[error.start]:02x}"
        ) from None


def _without_telnet(raw: bytes) -> bytes:
    """Return a line without negotiations at its beginning, and those after a `\\r`: elsewhere
    they would be bytes of a value. Looks at no byte more than a few times, whatever they are."""
    last_end = raw.rfind(_SUB_END)
    kept, begin = bytearray(), 0  # no list: an object for each piece would be forty times as much
    while True:
        end = _past_telnet(raw, begin, last_end)
        carriage_return = raw.find(b"\r\xff", end)
        if carriage_return < 0:
            kept += raw[end:]
            return bytes(kept)
        begin = carriage_return + 1
        kept += raw[end:begin]


def _past_telnet(raw: bytes, place: int, last_end: int) -> int:
    """Return where the negotiations end that begin at a place. The last end of any that is a
    sub-negotiation is given: one that has no end is not looked for."""
    while True:
        if raw.startswith(_SUB_BEGIN, place) and place + len(_SUB_BEGIN) <= last_end:
            place = raw.find(_SUB_END, place + len(_SUB_BEGIN)) + len(_SUB_END)
        elif found := _TELNET.match(raw, place):
            place = found.end()
        else:
            return place


def is_host_header(raw: bytes) -> bool:
    """Whether a line is the header that every request of a browser has, and that is no command."""
    return raw[:5].lower() == b"host:"


def looks_foreign(raw: bytes) -> str | None:
    """Return what to answer, after `Sorry, `, to a line of another protocol; else None."""
    if raw[:2] == b"\x16\x03":
        protocol = "TLS"
    elif raw[:4] == b"SSH-":
        protocol = "SSH"
    elif _HTTP.match(raw) or is_host_header(raw):
        protocol = "HTTP"
    else:
        return None
    return f"this port speaks lines of text, not {protocol}. Try: nc HOST PORT, then get KEY"


def split_sender(line: str) -> tuple[str, str, str]:
    """Return (name, id, message); name and id are "" if the line does not give them.

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
    if not NAME.fullmatch(name):
        raise ProtocolError(
            f'"{shown(name)}" is no name. A name is a letter, then letters, digits, _ . or -,'
            " at most 64 in all: client4@get KEY"
        )
    if hash_sign and not is_number(request_id):
        raise ProtocolError(
            f'"{shown(request_id)}" is no request id. An id is a number from 0 to {NUMBER_MAX}'
            " without leading zeros: client4#17@get KEY"
        )
    return name, request_id, message


def read_long_line(raw: bytes) -> tuple[str, str, str] | None:
    """Return what `decode_line` and `split_sender` make of a line, whose text is copied once; None
    of one without a sender, and of one that needs a closer look."""
    sender = _SENDER.match(raw)
    if sender is None:
        return None
    try:
        end = len(raw) - raw.endswith(b"\r")
        text = str(memoryview(raw)[sender.end() : end], "utf-8")
    except UnicodeDecodeError:
        return None
    name, number = sender.groups(b"")
    return (name.decode(), number.decode(), text) if is_printable(text) else None


def error(text: str) -> str:
    """Return the reply of an error; every error begins so, and nothing else does."""
    return "Sorry, " + text


def not_leader(name: str, host: str, port: int) -> str:
    """Return the reply that sends a client to the leader; nothing was done."""
    shown_host = f"[{host}]" if ":" in host else host
    return f"{NOT_LEADER} Last leader I heard from is: {name} ({shown_host}:{port})"


def no_leader(because: str) -> str:
    """Return the reply of a node that knows of no leader; "" if it can't know why."""
    return f"{NO_LEADER} {because}" if because else NO_LEADER


def outcome_unknown(reason: str) -> str:
    """Return the reply to a write that may yet take effect, or may not."""
    return OUTCOME_UNKNOWN + reason


CODES = "CODES response: on"


def reply_line(name: str, request_id: str, text: str) -> str:
    """Return the reply as one line, with the request's id if it had one."""
    return f"{name}#{request_id}@{text}\n" if request_id else f"{name}@{text}\n"
