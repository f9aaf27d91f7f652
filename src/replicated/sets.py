"""`ReplicatedSet`: a set that all share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableSet
from typing import Any

from raftline.replicated.base import ReplicatedObject
from raftline.replicated.errors import NotDone


class ReplicatedSet(ReplicatedObject, MutableSet[Any]):
    """A set of str, int, float, bool and None; each method is one step.

    `a | b` and the like give a plain set; `a |= b` changes the replicated one, in one step.
    """

    kind = "set"

    @classmethod
    def _from_iterable(cls, it: Iterable[Any]) -> Any:
        return set(it)

    def copy(self) -> set[Any]:
        """Return all of it as a plain set."""
        return set(self._read())

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

    def __ior__(self, items: Iterable[Any]) -> ReplicatedSet:  # type: ignore[misc]  # see above
        self.update(items)
        return self

    def __iand__(self, items: Iterable[Any]) -> ReplicatedSet:
        self._do("intersection", [_item(each) for each in items])
        return self

    def __isub__(self, items: Iterable[Any]) -> ReplicatedSet:
        self._do("difference", [_item(each) for each in items])
        return self

    def __ixor__(self, items: Iterable[Any]) -> ReplicatedSet:  # type: ignore[misc]  # see above
        self._do("symmetric", [_item(each) for each in items])
        return self


def _item(value: Any) -> Any:
    if isinstance(value, list | dict | tuple):
        raise TypeError(f"a replicated set can't hold a {type(value).__name__}")
    return value
