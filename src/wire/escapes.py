r"""Escapes, which represent any bytes of a key or value inside one printable line. Pure.

`\xNN` is a byte, `\n \r \t \s \\` are characters. In a text, a lone surrogate (`surrogateescape`)
represents a byte that is not UTF-8.

A value may have a million escapes, and an entry is read by every node, so each of them costs a few
nanoseconds: codecs of the interpreter, which are C code, replace them. The interpreter passes its
lock to another thread only between two of its own instructions, never during a call of C code. So a
long text is processed in short pieces; otherwise a heartbeat of this node would have to wait.
"""

from __future__ import annotations

import contextlib
import re

_MEANINGS = {"\\": "\\", "n": "\n", "r": "\r", "t": "\t", "s": " "}
_PIECE = 1 << 14  # most characters processed in one call
_BYTE = 4  # characters of `\xNN`
_UNKNOWN = re.compile(r"\\(?!x[0-9a-fA-F]{2})(.?)", re.DOTALL)


class UnknownEscapeError(ValueError):
    """A backslash without a known escape. The message is the character after it, "" at the end."""


def bytes_of(character: str) -> str:
    """Return the character as one `\\xNN` for each of its bytes, even for a lone surrogate."""
    try:
        raw = character.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # not from a byte: in a program's own text, never from a line
        raw = character.encode("utf-8", "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in raw)


def _of_values() -> dict[int, str]:
    """Return the escape of each character that never appears in a line as itself.

    Line and paragraph separators are included, because some programs end a line there.
    """
    codes = [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0xD800, 0xE000)]
    table = {code: bytes_of(chr(code)) for code in codes}
    return table | {ord(raw): "\\" + letter for letter, raw in _MEANINGS.items() if raw != " "}


IN_VALUES = _of_values()
IN_KEYS = IN_VALUES | {ord(" "): r"\s"}
# Characters that change the text direction, so that a terminal shows a different text.
_TURNING = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
CONTROLS = {code: text for code, text in IN_VALUES.items() if code != ord("\\")}
CONTROLS |= {code: bytes_of(chr(code)) for code in _TURNING}


def formatted(raw: str, table: dict[int, str]) -> str:
    """Return `raw` with each character replaced as in `IN_VALUES` or `IN_KEYS`."""
    begins = range(0, len(raw), _PIECE)
    return "".join([_escaped_piece(raw[begin : begin + _PIECE], table) for begin in begins])


def _escaped_piece(piece: str, table: dict[int, str]) -> str:
    try:
        data = piece.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a surrogate that represents no byte
        return piece.translate(table)
    if len(data) != len(piece):  # some characters that are not ASCII stay as they are
        return piece.translate(table)
    text = data.decode("latin-1").encode("unicode_escape").decode("ascii")
    return text.replace(" ", r"\s") if table is IN_KEYS else text


def meant(text: str) -> str:
    r"""Return an escaped text unescaped; bytes that are not UTF-8 become lone surrogates.

    A run of `\xNN` that is valid UTF-8 becomes its characters.

    Raises:
        UnknownEscapeError: a backslash has no known escape.
    """
    is_of_bytes = text.count("\\") == text.count(r"\x")
    if not is_of_bytes:
        # The first backslash of a run begins an escape, so the pairs are found from the left.
        text = text.replace(r"\\", r"\x5c")
        for letter, character in _MEANINGS.items():
            text = text if letter == "\\" else text.replace("\\" + letter, character)
        is_of_bytes = text.count("\\") == text.count(r"\x")
    if is_of_bytes:
        with contextlib.suppress(UnicodeDecodeError):
            return _with_bytes(text)
    unknown = _UNKNOWN.search(text)
    raise UnknownEscapeError(unknown[1] if unknown else "")


def _with_bytes(text: str) -> str:
    r"""Return a text whose only escapes are `\xNN` with their bytes.

    Raises:
        UnicodeDecodeError: digits are missing after a `\x`.
    """
    data = text.encode("utf-8", "surrogateescape")
    pieces, begin = [], 0
    while begin < len(data):
        end = begin + _PIECE
        cut = data.rfind(b"\\", end - _BYTE + 1, end)
        end = cut if cut >= 0 else end  # between two escapes
        pieces.append(data[begin:end].decode("unicode_escape").encode("latin-1"))
        begin = end
    return b"".join(pieces).decode("utf-8", "surrogateescape")
