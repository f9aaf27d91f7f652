"""The tokens of a Lua 5.1 script, by which a known script is recognized. Pure.

Blanks and comments are not tokens, and a string is the same token in either quotes, in long
brackets, and with its characters escaped. Everything else counts: scripts with the same tokens are
the same program.
"""

from __future__ import annotations

import re
from typing import Final

from ..programs import raw

_TOKEN: Final = re.compile(
    r"(?P<blank>[ \t\v\f\r\n]+|--(?!\[=*\[)[^\r\n]*)"
    r"|(?P<long>--)?\[(?P<level>=*)\["
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*|\.?[0-9][0-9.]*(?:[Ee][+-]?)?[A-Za-z0-9_]*)"
    r"|(?P<quote>[\"'])"
    r"|(?P<sign>==|~=|<=|>=|\.\.\.|\.\.|.)",
    re.DOTALL,
)
_LINE_END: Final = re.compile(r"\r\n|\n\r|\r|\n")
_IN_QUOTES: Final = {quote: re.compile(rf"[^\\{quote}\r\n]+") for quote in "\"'"}
_ESCAPE: Final = re.compile(r"[0-9]{1,3}|\r\n|\n\r|.", re.DOTALL)
_MEANT: Final = dict(zip("abfnrtv\r\n", "\a\b\f\n\r\t\v\n\n", strict=True))


class LuaError(Exception):
    """A script that Lua does not read."""


def tokens_of(text: str) -> str:
    """Return the tokens of a script with a blank between two. Each byte is a character, and strings
    are in double quotes with what is not plain escaped.

    Raises:
        LuaError: a string or a comment does not end, or an escape is wrong.
    """
    text = raw(text).decode("latin-1")
    tokens: list[str] = []
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        assert match is not None, "any character is a sign"
        place = match.end()
        if match["level"] is not None:
            content, place = _long_string(text, place, match["level"])
            if match["long"] is None:
                tokens.append(_formatted(content))
        elif match["quote"]:
            content, place = _short_string(text, place, match["quote"])
            tokens.append(_formatted(content))
        elif not match["blank"]:
            tokens.append(match[0])
    return " ".join(tokens)


def _formatted(content: str) -> str:
    """Return a string in the one way that it is written among tokens."""
    plain = [each if " " <= each <= "~" and each not in '\\"' else f"\\{ord(each):03}"
             for each in content]  # fmt: skip
    return f'"{"".join(plain)}"'


def _long_string(text: str, place: int, level: str) -> tuple[str, int]:
    """Return the text in long brackets, or a comment in these, and the place after it."""
    end = text.find(f"]{level}]", place)
    if end < 0:
        raise LuaError("it does not end")
    content = _LINE_END.sub("\n", text[place:end])
    if not level and "[[" in content:
        raise LuaError("brackets within brackets")  # as Lua 5.1 says
    return content.removeprefix("\n"), end + len(level) + 2


def _short_string(text: str, place: int, quote: str) -> tuple[str, int]:
    """Return the text in quotes, and the place after it."""
    parts: list[str] = []
    while place < len(text):
        if match := _IN_QUOTES[quote].match(text, place):
            parts.append(match[0])
            place = match.end()
        elif text[place] == quote:
            return "".join(parts), place + 1
        elif text[place] == "\\" and (match := _ESCAPE.match(text, place + 1)):
            parts.append(_meant(match[0]))
            place = match.end()
        else:  # the end of a line
            break
    raise LuaError("it does not end")


def _meant(escape: str) -> str:
    """Return what an escape stands for."""
    if "0" <= escape[0] <= "9":
        if int(escape) > 255:
            raise LuaError("no such byte")
        return chr(int(escape))
    return _MEANT.get(escape[0], escape[0])
