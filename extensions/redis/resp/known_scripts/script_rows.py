"""A known script: its row in the table, and what it sees while it runs. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from ..programs import CommandRefused
from ..replies import Failure
from ..view import Decide, View
from .lua_values import LuaValue, to_lua, turns_to, word

_CALL_BYTES: Final = 256  # of a text that is made in the time of a call
_WORD_BYTES: Final = 16  # of each of its words
_TURN_BYTES: Final = 16  # of a turn of a loop, in addition to the texts that it makes
_COMMAND: Final = re.compile(r"call\(['\"]\w+")


class Running:
    """A script while it runs: its keys, its arguments, and the commands that it calls."""

    def __init__(
        self, view: View, keys: list[str], arguments: list[str], commands: Mapping[str, Decide]
    ) -> None:
        self.keys = keys
        self.arguments = arguments
        self._view = view
        self._commands = commands

    def key(self, place: int) -> str | None:
        """Return `KEYS[place]`, nil if there are fewer."""
        return self.keys[place - 1] if place <= len(self.keys) else None

    def argument(self, place: int) -> str | None:
        """Return `ARGV[place]`, nil if there are fewer."""
        return self.arguments[place - 1] if place <= len(self.arguments) else None

    def call(self, *words: LuaValue) -> LuaValue:
        """Return what `redis.call` does: carry out a command, whose changes stay if the script
        fails later, as in Redis.

        Raises:
            Refused: the command fails, and with it the script.
        """
        self._view.works(_CALL_BYTES + _WORD_BYTES * len(words))
        formatted = list(map(word, words))
        reply = self._view.attempt(self._commands[formatted[0]], formatted)
        if isinstance(reply, Failure):
            raise CommandRefused(reply)
        return to_lua(reply)

    @property
    def now_ms(self) -> float:
        """The time of an entry as a script computes it from the two numbers of `TIME`."""
        return float(self._view.now_ms)

    def turns(self, limit: LuaValue, *parts: LuaValue) -> range:
        """Return the numbers of `for i = 1, limit`. All turns count before the first, with the
        texts that each makes of these parts.

        Raises:
            Refused: the limit is not a number.
        """
        size = _TURN_BYTES + sum([len(word(part)) for part in parts if part is not None])
        count = turns_to(limit)
        self._view.works(count * size)
        return range(1, count + 1)


class Script(NamedTuple):
    """A known script. Entries of the log contain its name, so what a name does never changes."""

    name: str
    sent_by: str  # the libraries, as docs/use/redis.md names them
    run: Callable[[Running], LuaValue]
    texts: tuple[str, ...]  # by any of which it is recognized
    takes_times: bool = False  # it depends on the time that a key has left
    is_read: bool = False  # it changes nothing
    frees: bool = False  # it only removes keys
    argument_keys: int = 0  # the first arguments that are keys, or with which keys begin
    grows: int = 0  # the argument that says how many elements it adds


def in_both_cases(*texts: str) -> tuple[str, ...]:
    """Return scripts with the names of their commands as they are, and in capitals."""
    capitals = [_COMMAND.sub(lambda match: "call" + match[0][4:].upper(), each) for each in texts]
    return (*texts, *capitals)
