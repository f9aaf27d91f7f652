"""Lines between people, clients and nodes: escapes, names, framing, and texts of replies. Pure.

A message is one line, `NAME@MESSAGE` or `NAME#ID@MESSAGE`; docs/use/protocol.md is the user's view.
With escapes, keys and values of any bytes fit in one printable line.
"""

from __future__ import annotations

import re
from typing import Final

from ..common.text import NAME as PLAIN_NAME
from ..common.text import NUMBER, NUMBER_MAX, is_printable
from . import escapes
from .refusal import error

NAME: Final = re.compile(PLAIN_NAME, re.ASCII)
_NUMBER: Final = re.compile(rf"0|{NUMBER}")
LONG: Final = 4096  # characters or bytes of a line, above which each copy matters
_PIECE: Final = 16 << 10  # characters that are encoded at a time
SENDER: Final = rf"({PLAIN_NAME})(?:#(0|[1-9][0-9]{{0,17}}))?@"  # with its id, up to 18 digits
_SENDER: Final = re.compile(SENDER.encode())
# Invisible characters: controls, formats, spaces of other widths, surrogates, private ones. Each
# node produces the reply to an entry, and keeps it. So this can't depend on `isprintable`, which
# knows more characters in a later Python.
_UNSEEN: Final = re.compile(
    r"[\x00-\x1f\x7f-\xa0\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u1680\u180e"
    r"\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ud800-\uf8ff\ufeff\ufff0-\ufffb"
    r"\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    r"\U000e0000-\U000e00ff\U000e01f0-\U0010ffff]"
)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
# RFC 854: IAC, then the negotiation of an option, or a command of one byte; and a sub-negotiation.
# FF before any other byte is not telnet, and is refused as a byte that is not UTF-8.
_TELNET = re.compile(rb"(?:\xff(?:[\xfb-\xfe].|[\xf0-\xf9]))+", re.DOTALL)
_TYPED_BYTES = 64 << 10  # a longer line has no negotiation; each piece would take a microsecond
_SUB_BEGIN, _SUB_END = b"\xff\xfa", b"\xff\xf0"
_SHORT: Final = 100  # characters: a call of `is_printable` would take longer than its look
_CTRL_C = b"\xff\xf4\xff\xfd\x06"  # as telnet sends it: discards the text typed before it
# A web page may choose any token as a method, for example `show`, which a browser sends unchanged.
_HTTP = re.compile(rb"[A-Z]+ \S+ HTTP/[0-9]|[!#$%&'*+.^_`|~0-9A-Za-z-]+ \S+ HTTP/[0-9]\.[0-9]\r\Z")


class ProtocolError(Exception):
    """A violated rule. Its sentence says what to do."""

    def __init__(self, sentence: str) -> None:
        self.refusal = error(sentence)
        super().__init__(self.refusal.sentence)


def escape(raw: str, key: bool) -> str:
    """Return `raw` escaped for one line; in a key, spaces are escaped too.

    In `raw`, a lone surrogate (`surrogateescape`) represents a byte that is not UTF-8.
    """
    is_plain = raw.isprintable() if len(raw) <= _SHORT else is_printable(raw)
    if is_plain and "\\" not in raw and not (key and " " in raw):
        return raw
    return escapes.formatted(raw, escapes.IN_KEYS if key else escapes.IN_VALUES)


def unescape(text: str) -> str:
    r"""Return `text` unescaped; bytes that are not UTF-8 become lone surrogates.

    `\xNN` is a byte; a run of such bytes that is valid UTF-8 becomes its characters.

    Raises:
        ProtocolError: a backslash has no known escape.
    """
    if "\\" not in text:
        return text
    try:
        return escapes.meant(text)
    except escapes.UnknownEscapeError as unknown:
        raise ProtocolError(
            rf"\{shown(str(unknown))} is not an escape. Write \\ for a backslash, \n \r \t \s,"
            r" or \xNN for a byte."
        ) from None


def size_of(text: str) -> int:
    """Return the number of bytes of a text that is not escaped. They are encoded in pieces: a loop
    that encodes a growing text whole makes the C library's allocator take new memory each time."""
    if text.isascii():
        return len(text)
    pieces = [text[begin : begin + _PIECE] for begin in range(0, len(text), _PIECE)]
    return sum([len(piece.encode("utf-8", "surrogateescape")) for piece in pieces])


def real(text: str) -> str:
    """Return an escaped text unescaped, or unchanged if its escapes are invalid."""
    try:
        return unescape(text)
    except (ProtocolError, UnicodeError):
        return text


def shown(text: str) -> str:
    """Return at most 60 characters of `text` as one printable line that is safe to echo."""
    cut = text if len(text) <= 60 else text[:60] + "..."
    return _UNSEEN.sub(lambda match: escapes.bytes_of(match[0]), cut)


def without_controls(text: str) -> str:
    """Return `text` with control characters and characters that change the text direction escaped,
    so that a terminal can show it as one line.

    Backslashes stay single: the text is already escaped, but by an untrusted sender.
    """
    return text if text.isprintable() else text.translate(escapes.CONTROLS)


def is_number(text: str) -> bool:
    """Whether a text is a number from 0 to 2^63-1 in plain digits, without leading zeros."""
    return _NUMBER.fullmatch(text) is not None and int(text) <= NUMBER_MAX


# --- lines ---------------------------------------------------------------------------------


def is_begun_name(name: str) -> bool:
    """Whether a session's name has exactly the form that `NAME@session` assigns."""
    client, dash, index = name.rpartition("-")
    return bool(client and dash and index.isascii() and index.isdigit())


def decode_line(raw: bytes) -> str:
    """Return the text of one line (without its newline), without telnet's additions.

    One `\\r` at the end is removed, and so are telnet's negotiations; telnet's Ctrl-C discards the
    text before it. A raw tab stays.

    Raises:
        ProtocolError: a byte is not UTF-8, or is a control character; the message shows it escaped.
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
    """Return a line without negotiations at its beginning and after a `\\r`; elsewhere they would
    be bytes of a value. Each byte is read only a few times, whatever the line contains."""
    last_end = raw.rfind(_SUB_END)
    result, begin = bytearray(), 0  # a list of pieces would take forty times the memory
    while True:
        end = _past_telnet(raw, begin, last_end)
        carriage_return = raw.find(b"\r\xff", end)
        if carriage_return < 0:
            result += raw[end:]
            return bytes(result)
        begin = carriage_return + 1
        result += raw[end:begin]


def _past_telnet(raw: bytes, place: int, last_end: int) -> int:
    """Return the end of the negotiations that begin at `place`. `last_end` is the end of the line's
    last sub-negotiation, so the search skips sub-negotiations without an end."""
    while True:
        if raw.startswith(_SUB_BEGIN, place) and place + len(_SUB_BEGIN) <= last_end:
            place = raw.find(_SUB_END, place + len(_SUB_BEGIN)) + len(_SUB_END)
        elif match := _TELNET.match(raw, place):
            place = match.end()
        else:
            return place


def is_host_header(raw: bytes) -> bool:
    """Whether a line is the Host header, which every browser request has, and which is not a
    command."""
    return raw[:5].lower() == b"host:"


def looks_foreign(raw: bytes) -> str | None:
    """Return the text after `Sorry, ` in the reply to a line of another protocol; None for other
    lines."""
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
    """Return (name, id, message); name and id are "" if the line has none.

    The first `@` is the separator if it is in the first word, since keys and values may contain
    others. Spaces before the line are dropped.

    Raises:
        ProtocolError: the text before the `@` is not a valid name, or name and id.
    """
    line = line.lstrip(" ")
    before, at, message = line.partition("@")
    if not at or " " in before:
        return "", "", line
    name, hash_sign, request_id = before.partition("#")
    if not NAME.fullmatch(name):
        raise ProtocolError(
            f'"{shown(name)}" is not a name. A name is a letter, then letters, digits, _ . or -,'
            " at most 64 in all: client4@get KEY"
        )
    if hash_sign and not is_number(request_id):
        raise ProtocolError(
            f'"{shown(request_id)}" is not a request id. An id is a number from 0 to {NUMBER_MAX}'
            " without leading zeros: client4#17@get KEY"
        )
    return name, request_id, message


def read_long_line(raw: bytes) -> tuple[str, str, str] | None:
    """Return the result of `decode_line` and `split_sender` for a line, with only one copy of its
    text; None for a line without a sender, or one that needs full parsing."""
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


CODES = "CODES response: on"


def reply_line(name: str, request_id: str, text: str) -> str:
    """Return the reply as one line, with the request's id if there is one."""
    return f"{name}#{request_id}@{text}\n" if request_id else f"{name}@{text}\n"
