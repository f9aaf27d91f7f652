r"""Escapes: any bytes of a key or value inside one printable line. Pure.

`\xNN` is a byte, `\n \r \t \s \\` are characters. A byte that is not UTF-8 stands in a text as a
lone surrogate (`surrogateescape`).

A value may have a million escapes. The interpreter gives its lock to another thread between two
of its own steps alone, and never amid a call of C. So such a text is taken in short pieces, by code
that a compiled wheel leaves to the interpreter: a heartbeat of this node would wait for it.
"""

from __future__ import annotations

import re

_MEANINGS = {"\\": "\\", "n": "\n", "r": "\r", "t": "\t", "s": " "}
_RUN = 1024  # `\xNN` that are looked at in one call
_PIECE = 1 << 14  # characters that are spelled in one call
# It begins with one character, so what stands between two escapes is passed by at once.
_ESCAPE = re.compile(
    rf"\\(?:(x[0-9a-fA-F]{{2}}(?:\\x[0-9a-fA-F]{{2}}){{0,{_RUN - 1}}})|(.?))", re.DOTALL
)


class UnknownEscapeError(ValueError):
    """A backslash begins no known escape. The message is the character after it, "" at the end."""


def bytes_of(character: str) -> str:
    """Return the character as `\\xNN` for each of its bytes; total over lone surrogates."""
    try:
        raw = character.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # stands for no byte: from a program's own text, never from a wire
        raw = character.encode("utf-8", "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in raw)


def _of_values() -> dict[int, str]:
    """Return the spelling of each character that never stands in a line as itself.

    Line and paragraph separators are among them: some programs end a line there.
    """
    codes = [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0xD800, 0xE000)]
    table = {code: bytes_of(chr(code)) for code in codes}
    return table | {ord(raw): "\\" + letter for letter, raw in _MEANINGS.items() if raw != " "}


IN_VALUES = _of_values()
IN_KEYS = IN_VALUES | {ord(" "): r"\s"}
# What turns the direction of a text: on a terminal it shows another text than there is.
_TURNING = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
CONTROLS = {code: text for code, text in IN_VALUES.items() if code != ord("\\")}
CONTROLS |= {code: bytes_of(chr(code)) for code in _TURNING}


def spelled(raw: str, table: dict[int, str]) -> str:
    """Return `raw` with each character as a table of escapes spells it."""
    if len(raw) <= _PIECE:
        return raw.translate(table)
    begins = range(0, len(raw), _PIECE)
    return "".join([raw[begin : begin + _PIECE].translate(table) for begin in begins])


def meant(text: str) -> str:
    r"""Return what an escaped text stands for; bytes that are not UTF-8 become lone surrogates.

    A run of `\xNN` that is UTF-8 becomes its characters.

    Raises:
        UnknownEscapeError: see there.
    """
    raw = _ESCAPE.sub(_meaning, text)
    return raw.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def _meaning(match: re.Match[str]) -> str:
    run, letter = match.groups()
    if run is not None:
        # Byte by byte, not as UTF-8 yet: its other half may be a raw character's neighbour.
        return bytes.fromhex(run[1:].replace("\\x", "")).decode("ascii", "surrogateescape")
    if letter in _MEANINGS:
        return _MEANINGS[letter]
    raise UnknownEscapeError(letter)
