r"""Escapes, which represent any bytes of a key or value inside one printable line. Pure.

`\xNN` is a byte, `\n \r \t \s \\` are characters. In a text, a lone surrogate (`surrogateescape`)
represents a byte that is not UTF-8.

A value may have a million escapes. The interpreter passes its lock to another thread only between
two of its own instructions, never during a call of C code. So a long text is processed in short
pieces, by code that is not compiled in a wheel; otherwise a heartbeat of this node would have to
wait.
"""

from __future__ import annotations

import re

_MEANINGS = {"\\": "\\", "n": "\n", "r": "\r", "t": "\t", "s": " "}
_RUN = 1024  # most `\xNN` processed in one call
_PIECE = 1 << 14  # most characters escaped in one call
# It begins with a fixed character, so the search skips quickly from escape to escape.
_ESCAPE = re.compile(
    rf"\\(?:(x[0-9a-fA-F]{{2}}(?:\\x[0-9a-fA-F]{{2}}){{0,{_RUN - 1}}})|(.?))", re.DOTALL
)


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


def spelled(raw: str, table: dict[int, str]) -> str:
    """Return `raw` with each character replaced as in a table of escapes."""
    if len(raw) <= _PIECE:
        return raw.translate(table)
    begins = range(0, len(raw), _PIECE)
    return "".join([raw[begin : begin + _PIECE].translate(table) for begin in begins])


def meant(text: str) -> str:
    r"""Return an escaped text unescaped; bytes that are not UTF-8 become lone surrogates.

    A run of `\xNN` that is valid UTF-8 becomes its characters.

    Raises:
        UnknownEscapeError: a backslash has no known escape.
    """
    raw = _ESCAPE.sub(_meaning, text)
    return raw.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def _meaning(match: re.Match[str]) -> str:
    run, letter = match.groups()
    if run is not None:
        # Byte by byte, not as UTF-8 yet: the rest of a character may be in another match.
        return bytes.fromhex(run[1:].replace("\\x", "")).decode("ascii", "surrogateescape")
    if letter in _MEANINGS:
        return _MEANINGS[letter]
    raise UnknownEscapeError(letter)
