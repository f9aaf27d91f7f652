"""The pairs of the state machine, read as of one moment while they go on changing. Pure.

A copy of a million pairs takes some 30 ms, in which the node would stand still. So a reader of all
pairs (a snapshot, a `show`) freezes the large dict instead. From then on changes go into a small
dict above it, and the large one can be read without a lock. After the last reader the changes are
moved down, some hundred at a time.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping, MutableMapping
from itertools import chain, filterfalse, islice

MOVED_MAX = 200  # changes moved down at a time: a fraction of a millisecond of work
FREED_MAX = 1000  # pairs freed at a time


class _Layers(Mapping[str, str]):
    """Pairs, and the changes above them: a text, or None if the key was deleted."""

    def __init__(
        self, base: MutableMapping[str, str], changes: dict[str, str | None], count: int
    ) -> None:
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
        added = [key for key, changed in changes.items() if changed is not None]
        return chain(filterfalse(changes.__contains__, base), added)

    def items(self) -> ItemsView[str, str]:
        return _Items(self)

    def merged(self) -> Iterator[tuple[str, str]]:
        """Yield key and value of each pair."""
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
    """All pairs, without looking each key up again."""

    _mapping: _Layers

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return self._mapping.merged()


class Overlay(_Layers, MutableMapping[str, str]):
    """Changes above pairs that stay as they are."""

    def __init__(self, base: MutableMapping[str, str]) -> None:
        super().__init__(base, {}, len(base))

    def __setitem__(self, key: str, value: str) -> None:
        self._count += key not in self
        self._change(key, value)

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self._count -= 1
        self._change(key, None)

    def _change(self, key: str, value: str | None) -> None:
        self.changes[key] = value


class LayeredPairs(Overlay):
    """Pairs in two layers: a dict that stands still while it has readers, and the changes since.

    Callers hold the lock that guards the pairs; only a `StillPairs` is read without it.
    """

    def __init__(self, base: dict[str, str]) -> None:
        super().__init__(base)
        self.readers = 0

    def hold(self, removed: int = 0) -> StillPairs:
        """Return the pairs as they are now, to be read for any time; `let_go` must follow. So many
        keys were removed from them until now."""
        self.readers += 1
        return StillPairs(self, self.changes.copy(), self._count, removed)

    def let_go(self) -> None:
        """Record that one of the readers has ended."""
        self.readers -= 1

    def move_down(self) -> bool:
        """Move some changes down unless there is a reader; return whether more can be moved.

        A key is there or gone all the while, also for one look at it without the lock.
        """
        if self.readers:
            return False
        moved = list(islice(reversed(self.changes), MOVED_MAX))
        for key in moved:
            self._put_down(key, self.changes[key])
        for _ in moved:
            self.changes.popitem()  # from the end, where these are
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
    """The pairs as of one moment, for one reader, without a lock; their changes are those between
    the moment when the base stood still and this one."""

    def __init__(
        self, layered: LayeredPairs, changes: dict[str, str | None], count: int, removed: int
    ) -> None:
        super().__init__(layered.base, changes, count)
        self.layered = layered
        self.removed = removed


def layered(pairs: MutableMapping[str, str]) -> LayeredPairs:
    """Return the pairs in two layers; nothing is copied."""
    if isinstance(pairs, LayeredPairs):
        return pairs
    assert isinstance(pairs, dict)
    return LayeredPairs(pairs)


def free(pairs: MutableMapping[str, str]) -> Iterator[None]:
    """Free pairs that no longer change, in pieces: a million at once would stop every thread. It
    yields after each piece, and while the pairs have readers."""
    if isinstance(pairs, LayeredPairs):
        while pairs.readers:
            yield
        pairs = pairs.base
    while pairs:
        for _ in range(min(len(pairs), FREED_MAX)):
            pairs.popitem()
        yield
