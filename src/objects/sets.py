"""`ReplicatedSet`: a set that all share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableSet
from collections.abc import Set as AbstractSet
from typing import Any

from raftline.objects.base import ReplicatedObject
from raftline.objects.errors import NotDone


class ReplicatedSet(ReplicatedObject, MutableSet[Any]):
    """A set of str, int, float, bool and None; each method is one step.

    `a | b` and the like give a plain set; `a |= b` changes the replicated one, in one step.
    """

    kind = "set"

    def copy(self) -> set[Any]:
        """Return all of it as a plain set."""
        return set(self._read())

    def __and__(self, other: Iterable[Any]) -> set[Any]:
        return set.__and__(self.copy(), _plain(other))

    def __or__(self, other: Iterable[Any]) -> set[Any]:
        return set.__or__(self.copy(), _plain(other))

    def __sub__(self, other: Iterable[Any]) -> set[Any]:
        return set.__sub__(self.copy(), _plain(other))

    def __xor__(self, other: Iterable[Any]) -> set[Any]:
        return set.__xor__(self.copy(), _plain(other))

    def __rsub__(self, other: Iterable[Any]) -> set[Any]:
        difference: set[Any] = _plain(other) - self.copy()
        return difference

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __le__(self, other: AbstractSet[Any]) -> bool:
        return set.__le__(self.copy(), _compared(other))

    def __lt__(self, other: AbstractSet[Any]) -> bool:
        return set.__lt__(self.copy(), _compared(other))

    def __ge__(self, other: AbstractSet[Any]) -> bool:
        return set.__ge__(self.copy(), _compared(other))

    def __gt__(self, other: AbstractSet[Any]) -> bool:
        return set.__gt__(self.copy(), _compared(other))

    def __eq__(self, other: object) -> bool:
        return set.__eq__(self.copy(), _compared(other))

    __hash__ = None  # type: ignore[assignment]  # as a set has none

    def isdisjoint(self, other: Iterable[Any]) -> bool:
        """Whether none of these is in it."""
        return self.copy().isdisjoint(other)

    def __contains__(self, item: object) -> bool:
        return item in self.copy()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.copy())

    def __len__(self) -> int:
        return len(self.copy())

    def add(self, value: Any) -> bool:  # type: ignore[override]  # says more than None
        """Add an item; return whether it is new."""
        return bool(self._do("add", _item(value)))

    def discard(self, value: Any) -> bool:  # type: ignore[override]  # says more than None
        """Remove an item if it is there; return whether it was."""
        return bool(self._do("discard", _item(value)))

    def remove(self, value: Any) -> None:
        """Remove an item. Raises KeyError where it is not there."""
        if not self.discard(value):
            raise KeyError(value)

    def pop(self) -> Any:
        """Remove an item, the one that came first, and return it. Raises KeyError if empty."""
        try:
            return self._do("take")
        except NotDone:
            raise KeyError(f"{self.name} is empty") from None

    def clear(self) -> None:
        """Remove all items, in one step."""
        self._do("clear")

    def update(self, items: Iterable[Any]) -> None:
        """Add all items, in one step."""
        self._do("union", [_item(each) for each in items])

    def __ior__(self, items: Iterable[Any]) -> ReplicatedSet:
        self.update(items)
        return self

    def __iand__(self, items: Iterable[Any]) -> ReplicatedSet:
        self._do("intersection", [_item(each) for each in items])
        return self

    def __isub__(self, items: Iterable[Any]) -> ReplicatedSet:
        self._do("difference", [_item(each) for each in items])
        return self

    def __ixor__(self, items: Iterable[Any]) -> ReplicatedSet:
        self._do("symmetric", [_item(each) for each in items])
        return self


def _plain(other: Any) -> Any:
    """Return what Python's own set takes, read once; what is no set at all stays as it is."""
    return set(other) if isinstance(other, Iterable) else other


def _compared(other: Any) -> Any:
    return set(other) if isinstance(other, AbstractSet) else other


def _item(value: Any) -> Any:
    if isinstance(value, list | dict | tuple):
        raise TypeError(f"a replicated set can't hold a {type(value).__name__}")
    return value
