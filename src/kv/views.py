"""Views of the keys with a prefix, page by page: `kv.items("app/")`, `kv.keys()`, `kv.values()`."""

from __future__ import annotations

from collections.abc import (
    Callable,
    ItemsView,
    Iterator,
    KeysView,
    MappingView,
    MutableMapping,
    ValuesView,
)
from functools import partial
from typing import Generic

from raftline.kv.codec import Data

Pairs = Callable[[Data | None], Iterator[tuple[Data, Data]]]


class _OfPrefix(MappingView, Generic[Data]):
    """The pairs that a view goes through."""

    def __init__(
        self, kv: MutableMapping[Data, Data], pairs: Pairs[Data], prefix: Data | None
    ) -> None:
        super().__init__(kv)
        self._pairs: Callable[[], Iterator[tuple[Data, Data]]] = partial(pairs, prefix)

    def __len__(self) -> int:
        return len(list(self._pairs()))


class PrefixItems(_OfPrefix[Data], ItemsView[Data, Data]):
    """The pairs under a prefix, in the order of their keys. Each page of a thousand is as of one
    moment; between two of them the store may change."""

    def __iter__(self) -> Iterator[tuple[Data, Data]]:
        return self._pairs()


class PrefixKeys(_OfPrefix[Data], KeysView[Data]):
    """The keys under a prefix."""

    def __iter__(self) -> Iterator[Data]:
        return (key for key, _ in self._pairs())


class PrefixValues(_OfPrefix[Data], ValuesView[Data]):
    """The values under a prefix, in the order of their keys."""

    def __iter__(self) -> Iterator[Data]:
        return (value for _, value in self._pairs())
