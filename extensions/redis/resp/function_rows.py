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
    # Its reply tells more of a key than whether it exists and will end, its type and its length.
    shows: Callable[[list[str]], bool] = always
    takes_times: Callable[[list[str]], bool] = never  # it depends on the time that a key has left
    changes: int | None = None  # the place of the only key that it may change; None: any of them
    moves: int | None = None  # the place of a key whose value it puts into another one
    find_keys: Callable[[list[str]], list[str]] | None = None  # if no spec tells which they are
    is_entry: bool = False  # a script: also one that changes nothing is an entry

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
            reads = shows or is_source or place == self.moves
            yield key, reads, not (self.is_read or is_source)
