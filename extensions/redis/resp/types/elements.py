r"""The elements of a typed value, each look at which is counted before it is taken. Pure.

A command sees a value as a `Body`, the text, and as `Items`, its elements. A search, a cut, a loop
and a sort count here, so no function of a command counts by itself, and none is free by mistake.
The unit is the time to make one byte of a text; the figures are measured by
extensions/redis/tests/core/test_redis_work.py.
They depend on no version of Python: each node counts the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias, TypeVar

from .typed import PART, body_with, items_in, meant

Count: TypeAlias = Callable[[int], None]
Key = TypeVar("Key", float, "tuple[float, bytes]")

COPIED_PART: Final = 64  # of a text that is copied; a search takes longer
_PARTED: Final = 3  # for each element that is parted from the others
_EACH: Final = 10  # for each element of a loop, which may read a number, or keep it in a table
_READ: Final = 20  # the same, if the loop reads what each means
_MEANT: Final = 64  # the same, if there are escapes
_SCORED: Final = 80  # for each element whose score is computed with, or shown
_WITHIN: Final = 12  # for each byte of an element that is parted once more
_SORTED: Final = 80  # for each element that is put in order
_NAME: Final = 40  # for each name that is compared with a pattern
_MATCHED: Final = 4  # for each byte of it
_DRAWN: Final = 128  # for each element that chance chooses: it is kept, copied and returned


def memory_of(text: str) -> int:
    """Return how many bytes a text takes in memory, at most."""
    return len(text) if text.isascii() else 4 * len(text)


def fitting(fits: Callable[[str], bool], names: list[str], count: Count) -> list[str]:
    """Return the names that fit a pattern, each byte of which is compared."""
    count(_NAME * len(names) + _MATCHED * sum(map(len, names)))
    return list(filter(fits, names))


class Body:
    """The text of a value's elements, each after a space. Each search and each copy counts."""

    __slots__ = ("_count", "_text")

    def __init__(self, text: str, count: Count) -> None:
        self._text = text
        self._count = count

    def __bool__(self) -> bool:
        return bool(self._text)

    def _looked(self) -> str:
        """Return the text for one search."""
        self._count(memory_of(self._text) // PART)
        return self._text

    def made(self) -> str:
        """Return the text for one copy."""
        self._count(memory_of(self._text) // COPIED_PART)
        return self._text

    def size(self, begin: int = 0, end: int | None = None) -> int:
        """Return the number of elements, or of those that begin in a part of it."""
        return self._looked().count(" ", begin, end)

    def find(self, mark: str, begin: int = 0) -> int:
        """Return the place of a mark, below 0 if it is absent. The end counts as a space."""
        text = self._looked()
        place = text.find(mark, begin)
        if place < 0 and mark.endswith(" ") and text.endswith(mark[:-1]):
            last = len(text) - len(mark) + 1
            return last if last >= begin else -1
        return place

    def end_of(self, begin: int) -> int:
        """Return where the element ends that has this place in it."""
        end = self._looked().find(" ", begin)
        return end if end >= 0 else len(self._text)

    def begin_of(self, end: int) -> int:
        """Return where the element begins that has this place in it."""
        return self._looked().rfind(" ", 0, end) + 1

    def piece(self, begin: int, end: int) -> str:
        """Return a piece of it."""
        piece = self._text[begin:end]
        self._count(memory_of(piece) // PART)
        return piece

    def with_piece(self, begin: int, end: int, new: str = "") -> Body:
        """Return it with other text in place of a piece."""
        text = self.made()
        return Body(text[:begin] + new + text[end:], self._count)

    def with_words(self, words: list[str], *, at_begin: bool = False) -> Body:
        """Return it with more elements, at its end or its begin."""
        text, more = self.made(), body_with(words)
        return Body(more + text if at_begin else text + more, self._count)

    def cut(self, count: int, *, at_end: bool = False) -> tuple[list[str], Body]:
        """Return so many elements from one end on, and the body without them."""
        text = self.made()
        self._count(_EACH * min(count, self.size()) if count > 1 else _EACH)
        if at_end:
            items = text[1:].rsplit(" ", count) if text else []
            rest = items[: max(0, len(items) - count)]
            taken = items[len(rest) :][::-1]
        else:
            items = text[1:].split(" ", count) if text else []
            taken, rest = items[:count], items[count:]
        return taken, Body(body_with(rest), self._count)

    def near(self, count: int, *, at_end: bool) -> Items:
        """Return so many elements at one end, in their order; the others are not parted."""
        text, count = self.made(), min(count, self.size())
        self._count(_PARTED * count)
        parts = text.rsplit(" ", count) if at_end else text.split(" ", count + 1)
        return Items(parts[1 : count + 1], self._count, is_escaped="\\" in text)

    def items(self) -> Items:
        """Return the elements."""
        count, text = self.size(), self.made()
        self._count(_PARTED * count)
        return Items(items_in(text), self._count, is_escaped="\\" in text)


class Items:
    """Elements in their order, as they are written. Each loop over them counts."""

    __slots__ = ("_count", "_is_escaped", "_items")

    def __init__(self, items: list[str], count: Count, *, is_escaped: bool = False) -> None:
        self._items = items
        self._count = count
        self._is_escaped = is_escaped

    def _of(self, items: list[str]) -> Items:
        return Items(items, self._count, is_escaped=self._is_escaped)

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[str]:
        self._count(_EACH * len(self._items))
        return iter(self._items)

    def __getitem__(self, place: int) -> str:
        return self._items[place]

    def read(self) -> Iterator[str]:
        """Return the elements for a loop that reads what each means: of an escaped one a text is
        made."""
        self._count((_MEANT if self._is_escaped else _READ) * len(self._items))
        if self._is_escaped:
            self._count(sum(map(len, self._items)))
        return iter(self._items)

    def scored(self) -> Iterator[str]:
        """Return the elements for a loop that computes with the score of each."""
        self._count((_SCORED + _MEANT * self._is_escaped) * len(self._items))
        return iter(self._items)

    def read_whole(self) -> Iterator[str]:
        """Return the elements for a loop that parts each of them once more."""
        self._count(_EACH * len(self._items) + _WITHIN * sum(map(len, self._items)))
        return iter(self._items)

    def meant(self) -> list[str]:
        """Return what the elements mean."""
        return meant(list(self.read()))

    def part(self, begin: int, end: int | None = None) -> Items:
        """Return some of them."""
        found = self._items[begin:end]
        self._count(len(found))
        return self._of(found)

    def reversed(self) -> Items:
        """Return them from the last one on."""
        self._count(len(self._items))
        return self._of(self._items[::-1])

    def number_of(self, word: str) -> int:
        """Return how many are this one."""
        self._count(_PARTED * len(self._items))
        return self._items.count(word)

    def place_of(self, word: str) -> int:
        """Return the place of the first one that is this one, below 0 if it is absent."""
        self._count(2 * _PARTED * len(self._items))
        return self._items.index(word) if word in self._items else -1

    def kept(self, keeps: Callable[[str], bool]) -> Items:
        """Return those that a test keeps."""
        return self._of([item for item in self if keeps(item)])

    def kept_as_meant(self, keeps: Callable[[str], bool]) -> Items:
        """Return the same by a test that reads what each means."""
        return self._of([item for item in self.read() if keeps(item)])

    def sorted(self, key: Callable[[str], Key]) -> Items:
        """Return them in this order."""
        self._count((_SORTED + _MEANT * self._is_escaped) * len(self._items))
        return self._of(sorted(self._items, key=key))

    def places_of(self, word: str, most: int, *, from_end: bool) -> list[int]:
        """Return the places of this one among so many, from one end on."""
        items = self._items
        order = range(len(items) - 1, -1, -1) if from_end else range(len(items))
        order = order[:most]
        self._count(_EACH * len(order))
        return [place for place in order if items[place] == word]

    def put(self, place: int, new: str, *, replaces: bool = False) -> Items:
        """Return them with a new one at a place, before the one there or instead of it."""
        self._count(len(self._items))
        items = list(self._items)
        if replaces:
            items[place] = new
        else:
            items.insert(place, new)
        return self._of(items)

    def drawn(self, count: int, chance: Callable[[int], int]) -> Items:
        """Return so many that chance chooses, each by itself. They are counted before the first,
        and their bytes before one is copied: a long one may be chosen again and again."""
        self._count(_DRAWN * count)
        items = self._items
        found = [items[chance(len(items))] for _ in range(count)]
        self._count(sum(map(len, found)))
        return self._of(found)

    def drawn_once(self, count: int, chance: Callable[[int], int]) -> Items:
        """Return so many different ones that chance chooses."""
        count = min(count, len(self._items))
        self._count(_DRAWN * count + len(self._items))
        left, found = list(self._items), list[str]()
        for _ in range(count):
            place = chance(len(left))
            left[place], left[-1] = left[-1], left[place]
            found.append(left.pop())
        return self._of(found)

    def body(self) -> Body:
        """Return the body with these elements."""
        return Body(self.made(), self._count)

    def made(self) -> str:
        """Return the text with these elements, to be written."""
        self._count(_PARTED * len(self._items))
        return body_with(self._items)
