"""The tokens of a text in Lua 5.1. Pure."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from .values import SyntaxFault, to_number

_TOKEN: Final = re.compile(
    r"(?P<blank>[ \t\v\f\r\n]+|--(?!\[=*\[)[^\r\n]*)"
    r"|(?P<comment>--)?\[(?P<level>=*)\["
    r"|(?P<number>\.?[0-9](?:[Ee][+-]?|[0-9A-Za-z_.])*)"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<quote>[\"'])"
    r"|(?P<sign>[=~<>]=|\.{2,3}|[-+*/%^#<>=(){}\[\];:,.])"
)
_LINE_END: Final = re.compile(r"\r\n|\n\r|\r|\n")
_PLAIN: Final = {quote: re.compile(rf"[^\\{quote}\r\n]+") for quote in "\"'"}
_ESCAPE: Final = re.compile(r"[0-9]{1,3}|\r\n|\n\r|.", re.DOTALL)
_MEANT: Final = dict(zip("abfnrtv\r", "\a\b\f\n\r\t\v\n", strict=True))
_KEYWORDS: Final = frozenset([
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local",
    "nil", "not", "or", "repeat", "return", "then", "true", "until", "while",
])  # fmt: skip
END: Final = "<eof>"


class LuaToken(NamedTuple):
    """A token: a keyword or a sign is its own kind; the others are names, strings and numbers."""

    kind: str
    value: Any
    line: int


def tokens_of(text: str) -> list[LuaToken]:
    """Return the tokens of a script.

    Raises:
        SyntaxFault: the text has something that is not a token.
    """
    return _Scanner(text).tokens


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text, self.place, self.line = text, 0, 1
        self.tokens: list[LuaToken] = []
        if text.startswith("#"):
            self.place = len(_LINE_END.split(text, maxsplit=1)[0])
        while self.place < len(text):
            self._take()
        self.tokens.append(LuaToken(END, END, self.line))

    def _fault(self, problem: str) -> SyntaxFault:
        return SyntaxFault(f"user_script:{self.line}: {problem}")

    def _take(self) -> None:
        """Take one token, a blank or a comment."""
        match = _TOKEN.match(self.text, self.place)
        if match is None:
            raise self._fault(f"unexpected symbol near '{self.text[self.place]}'")
        begin, line, self.place = self.place, self.line, match.end()
        if match["level"] is not None:
            content = self._long(match["level"])
            if not match["comment"]:
                self.tokens.append(LuaToken("string", content, line))
        elif match["quote"]:
            self.tokens.append(LuaToken("string", self._short(match["quote"]), line))
        elif match["number"]:
            is_named = match[0][-1] in "nN"  # no number ends so, but the names of some
            number = None if is_named else to_number(match[0])
            if number is None:
                raise self._fault(f"malformed number near '{match[0]}'")
            self.tokens.append(LuaToken("number", number, line))
        elif match["word"]:
            kind = match[0] if match[0] in _KEYWORDS else "name"
            self.tokens.append(LuaToken(kind, match[0], line))
        elif match["sign"]:
            self.tokens.append(LuaToken(match[0], match[0], line))
        self.line += len(_LINE_END.findall(self.text, begin, self.place))

    def _long(self, level: str) -> str:
        end = self.text.find(f"]{level}]", self.place)
        if end < 0:
            raise self._fault("unfinished long string near '<eof>'")
        content = _LINE_END.sub("\n", self.text[self.place : end])
        self.place = end + len(level) + 2
        return content.removeprefix("\n")

    def _short(self, quote: str) -> str:
        """Return the content of a string in quotes."""
        parts: list[str] = []
        while self.place < len(self.text):
            if plain := _PLAIN[quote].match(self.text, self.place):
                parts.append(plain[0])
                self.place = plain.end()
                continue
            mark = self.text[self.place]
            self.place += 1
            if mark == quote:
                return "".join(parts)
            match = _ESCAPE.match(self.text, self.place) if mark == "\\" else None
            if match is None:
                break
            self.place = match.end()
            parts.append(self._escaped(match[0]))
        raise self._fault("unfinished string")

    def _escaped(self, escape: str) -> str:
        if escape[0].isdigit():
            if int(escape) > 255:
                raise self._fault("escape sequence too large")
            return chr(int(escape))
        return "\n" if len(escape) == 2 else _MEANT.get(escape, escape)
