"""The row of a command of Redis on keys. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from .view import Decide

READ, WRITE = "readonly", "write"
ONE: Final = (1, 1, 1)
ALL: Final = (1, -1, 1)
PAIRS: Final = (1, -1, 2)
TWO: Final = (1, 2, 1)


def always(words: list[str]) -> bool:
    return True


def never(words: list[str]) -> bool:
    return False


class Function(NamedTuple):
    """A command on keys, as a function of a view."""

    name: str
    arity: int  # with the name; negative: at least as many words
    decide: Decide
    flags: str
    spec: tuple[int, int, int] = ONE  # the first key, the last, and the step between two
    shows: Callable[[list[str]], bool] = always  # its reply may tell about a value
    takes_times: Callable[[list[str]], bool] = never  # it depends on the time that a key has left
    changes: int | None = None  # the place of the only key that it may change; None: any of them
    find_keys: Callable[[list[str]], list[str]] | None = None  # if no spec tells which they are

    @property
    def is_read(self) -> bool:
        """Whether it changes nothing."""
        return self.flags.startswith(READ)

    def fits(self, count: int) -> bool:
        """Whether the command may have so many words."""
        return count == self.arity or (self.arity < 0 and count >= -self.arity)

    def keys_in(self, words: list[str]) -> list[str]:
        """Return the keys that a command names."""
        if self.find_keys is not None:
            return self.find_keys(words)
        first, last, step = self.spec
        end = last if last >= 0 else len(words) + last
        return words[first : end + 1 : step]

    def rights_in(self, words: list[str]) -> Iterator[tuple[str, bool, bool]]:
        """Yield each key that a command names, whether it may read it, and whether it may change
        it."""
        shows = self.is_read or self.shows(words)
        for place, key in enumerate(self.keys_in(words)):
            is_source = self.changes not in (None, place)
            yield key, shows or is_source, not (self.is_read or is_source)
