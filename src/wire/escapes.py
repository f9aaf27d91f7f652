"""Escapes: how keys and values of any bytes are spelled inside one printable line. Pure."""

from __future__ import annotations

import re

_ESCAPE = re.compile(r"((?:\\x[0-9a-fA-F]{2})+)|\\(.?)", re.DOTALL)
_MEANINGS = {"\\": "\\", "n": "\n", "r": "\r", "t": "\t", "s": " "}


class ProtocolError(Exception):
    """The message is what follows `Sorry, ` in the reply: the rule broken, and what to do."""


def _bytes_of(character: str) -> str:
    """Return the character as `\\xNN` for each of its bytes; total over lone surrogates."""
    try:
        raw = character.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # stands for no byte: from a program's own text, never from a wire
        raw = character.encode("utf-8", "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in raw)


def _value_escapes() -> dict[int, str]:
    """Return the spelling of each character that never stands in a line as itself.

    Line and paragraph separators are among them: some programs end a line there.
    """
    codes = [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0xD800, 0xE000)]
    table = {code: _bytes_of(chr(code)) for code in codes}
    return table | {ord(raw): "\\" + letter for letter, raw in _MEANINGS.items() if raw != " "}


_VALUE_ESCAPES = _value_escapes()
_KEY_ESCAPES = _VALUE_ESCAPES | {ord(" "): r"\s"}
_CONTROLS = {code: text for code, text in _VALUE_ESCAPES.items() if code != ord("\\")}


def escape(raw: str, key: bool) -> str:
    """Return the spelling of `raw` inside one line; in a key a space is spelled as well.

    A byte that is not UTF-8 stands in `raw` as a lone surrogate (`surrogateescape`).
    """
    if raw.isprintable() and "\\" not in raw and not (key and " " in raw):
        return raw
    return raw.translate(_KEY_ESCAPES if key else _VALUE_ESCAPES)


def unescape(text: str) -> str:
    r"""Return what `text` stands for; bytes that are not UTF-8 become lone surrogates.

    `\xNN` are bytes: a run of them that is UTF-8 becomes its characters.

    Raises:
        ProtocolError: a backslash begins no known escape.
    """
    if "\\" not in text:
        return text
    raw = _ESCAPE.sub(_meaning, text)
    return raw.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def _meaning(match: re.Match[str]) -> str:
    run, letter = match.groups()
    if run is not None:
        # Byte by byte, not as UTF-8 yet: its other half may be a raw character's neighbour.
        return bytes.fromhex(run.replace("\\x", "")).decode("ascii", "surrogateescape")
    if letter in _MEANINGS:
        return _MEANINGS[letter]
    raise ProtocolError(
        rf"\{shown(letter)} is no escape. Write \\ for a backslash, \n \r \t \s,"
        r" or \xNN for a byte."
    )


def shown(text: str) -> str:
    """Return `text` fit to be echoed: one printable line of at most 60 characters of it."""
    cut = text if len(text) <= 60 else text[:60] + "..."
    if cut.isprintable():
        return cut
    return "".join(each if each.isprintable() else _bytes_of(each) for each in cut)


def without_controls(text: str) -> str:
    """Return `text` with control characters spelled, so that a terminal can show it as one line.

    Backslashes stay single: this is for text that is escaped already, by someone not trusted.
    """
    return text if text.isprintable() else text.translate(_CONTROLS)
