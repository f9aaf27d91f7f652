"""The pairs of the state machine, readable at one moment while they keep changing. Pure.

Copying a million pairs takes some 30 ms, during which the node would stall. So a reader of all
pairs (a snapshot, say) freezes the large dict instead. From then on, changes go into a small
dict above it, and the large dict can be read without a lock. After the last reader ends, the
changes are moved down, a few hundred at a time.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping, MutableMapping
from itertools import chain, filterfalse, islice

MOVED_MAX = 200  # changes moved down at a time, in a fraction of a millisecond
FREED_MAX = 1000  # pairs freed at a time


class _Layers(Mapping[str, str]):
    """Pairs and the changes above them. A change is a text, or None if the key was deleted."""

    def __init__(self, base: dict[str, str], changes: dict[str, str | None], count: int) -> None:
        self.base = base
        self.changes = changes
        self._count = count

    def __getitem__(self, key: str) -> str:
        value = self.changes[key] if key in self.changes else self.base.get(key)
        if value is None:
            raise KeyError(key)
        return value

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        base, changes = self.base, self.changes
        if not changes:
            return iter(base)
        new = [key for key, value in changes.items() if value is not None]
        return chain(filterfalse(changes.__contains__, base), new)

    def items(self) -> ItemsView[str, str]:
        return _Items(self)

    def merged(self) -> Iterator[tuple[str, str]]:
        """Yield the key and value of each pair."""
        base, changes = self.base, self.changes
        if not changes:
            yield from base.items()
            return
        for key, value in base.items():
            if key not in changes:
                yield key, value
        for key, changed in changes.items():
            if changed is not None:
                yield key, changed


class _Items(ItemsView[str, str]):
    """All pairs, without a second lookup for each key."""

    _mapping: _Layers

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return self._mapping.merged()


class LayeredPairs(_Layers, MutableMapping[str, str]):
    """Pairs in two layers: a dict that is frozen while it has readers, and the changes since then.

    Callers hold the lock that guards the pairs. Only a `StillPairs` is read without it.
    """

    def __init__(self, base: dict[str, str]) -> None:
        super().__init__(base, {}, len(base))
        self.readers = 0

    def __setitem__(self, key: str, value: str) -> None:
        self._count += key not in self
        self._change(key, value)

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self._count -= 1
        self._change(key, None)

    def hold(self) -> StillPairs:
        """Freeze the pairs and return them for a reader, which must call `release`."""
        self.readers += 1
        return StillPairs(self, self.changes.copy(), self._count)

    def release(self) -> None:
        """Record that a reader has ended."""
        self.readers -= 1

    def move_down(self) -> bool:
        """Move some changes down unless there is a reader. Return whether more can be moved.

        Even a lookup without the lock sees each key as present or absent throughout.
        """
        if self.readers:
            return False
        moved = list(islice(reversed(self.changes), MOVED_MAX))
        for key in moved:
            self._put_down(key, self.changes[key])
        for _ in moved:
            self.changes.popitem()  # from the end, where the moved changes are
        return bool(self.changes)

    def _change(self, key: str, value: str | None) -> None:
        if self.readers:
            self.changes[key] = value
            return
        self._put_down(key, value)
        self.changes.pop(key, None)

    def _put_down(self, key: str, value: str | None) -> None:
        if value is None:
            self.base.pop(key, None)
        else:
            self.base[key] = value


class StillPairs(_Layers):
    """The pairs at one moment, for one reader, without a lock. `changes` are the changes since the
    base was frozen."""

    def __init__(self, layered: LayeredPairs, changes: dict[str, str | None], count: int) -> None:
        super().__init__(layered.base, changes, count)
        self.layered = layered


def layered(pairs: MutableMapping[str, str]) -> LayeredPairs:
    """Return the pairs in two layers, without copying them."""
    if isinstance(pairs, LayeredPairs):
        return pairs
    assert isinstance(pairs, dict)
    return LayeredPairs(pairs)


def free(pairs: MutableMapping[str, str]) -> Iterator[None]:
    """Free unused pairs in pieces: freeing a million at once would stop every thread. The iterator
    yields after each piece, and while the pairs have readers."""
    if isinstance(pairs, LayeredPairs):
        while pairs.readers:
            yield
        pairs = pairs.base
    while pairs:
        for _ in range(min(len(pairs), FREED_MAX)):
            pairs.popitem()
        yield
