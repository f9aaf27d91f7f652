"""The keys in the order of their bytes, so that those with a prefix, and those after a key, are
found without a scan of the others. Pure.

A new key is only noted. The next query sorts it in. The keys are in sorted runs of bounded length,
so that no step takes a long time. Short runs are merged as they arrive. A removed key stays until a
query meets it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Container, Iterable, Iterator
from heapq import merge
from itertools import chain
from typing import Final

from ..common.process.wakeup import PauseFunction
from ..wire.protocol import real

RUN_KEYS: Final = 16_384  # in a run, which is sorted or merged in a few ms
PIECE_KEYS: Final = 64  # of a run, looked up at a time


class KeyIndex:
    """An index of the keys of a store. `held` holds the keys that exist now."""

    def __init__(self, keys: Iterable[str]) -> None:
        self.new = list(keys)  # not sorted in yet
        self.count = len(self.new)  # of all keys, including removed ones
        self._runs: list[list[str]] = []

    def add(self, key: str) -> None:
        """Add a key that was absent."""
        self.new.append(key)
        self.count += 1

    def under(self, prefix: str, held: Container[str], pause: PauseFunction) -> list[str]:
        """Return the keys that begin with the bytes of a prefix, each once, in no particular
        order."""
        self._sort_in(pause)
        return list(dict.fromkeys(chain.from_iterable(self._parts(prefix, "", held))))

    def has_any(
        self, prefix: str, held: Container[str], fits: Callable[[str], bool], pause: PauseFunction
    ) -> bool:
        """Return whether a key with the prefix fits."""
        self._sort_in(pause)
        return any(map(fits, chain.from_iterable(self._parts(prefix, "", held))))

    def in_order(
        self, prefix: str, after: str, held: Container[str], pause: PauseFunction
    ) -> Iterator[str]:
        """Yield the keys that begin with the bytes of a prefix and come after a key, or after none
        (""), in the order of their bytes. Nothing is added or removed meanwhile."""
        self._sort_in(pause)
        last = ""
        for key in merge(*self._parts(prefix, after, held), key=place_of):
            if key != last:  # a key that was removed and set again may be there twice
                yield key
            last = key

    def sort_some(self) -> None:
        """Sort some of the new keys in, which takes a few ms."""
        part = self.new[-RUN_KEYS:]
        del self.new[-RUN_KEYS:]
        _sort(part)
        runs = self._runs
        while runs and len(runs[-1]) <= 2 * len(part) <= RUN_KEYS:
            part += runs.pop()
            _sort(part)  # both runs are sorted, so this is a merge
        runs.append(part)

    def _sort_in(self, pause: PauseFunction) -> None:
        if self.new:
            self._runs = [run for run in self._runs if run]
        while self.new:
            self.sort_some()
            if self.new:
                pause()

    def _parts(self, prefix: str, after: str, held: Container[str]) -> list[Iterator[str]]:
        """Return the existing keys of each run, in order."""
        begin = place_of(prefix)
        end = _first_after(begin)
        if after:
            begin = max(begin, place_of(after) + b"\0")
        return [self._part(run, begin, end, held) for run in self._runs]

    def _part(
        self, run: list[str], first: bytes, end: bytes, held: Container[str]
    ) -> Iterator[str]:
        """Yield the existing keys of a run between two places, and drop the others on the way."""
        place = bisect_left(run, first, key=place_of)
        left = (bisect_left(run, end, place, key=place_of) if end else len(run)) - place
        while left:
            keys = run[place : place + min(left, PIECE_KEYS)]
            left -= len(keys)
            here = [key for key in keys if key in held]
            if len(here) < len(keys):
                run[place : place + len(keys)] = here
                self.count -= len(keys) - len(here)
            yield from here
            place += len(here)


def place_of(key: str) -> bytes:
    """Return the bytes of an escaped key, by which keys are in order."""
    return key_bytes(real(key))


def key_bytes(shown: str) -> bytes:
    """Return the bytes of a key. A lone surrogate is a byte that is not UTF-8. Other surrogates
    give three bytes; no line has them."""
    try:
        return shown.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return shown.encode("utf-8", "surrogatepass")


def _sort(keys: list[str]) -> None:
    text = "".join(keys)
    is_plain = text.isascii() and "\\" not in text  # so the keys are in the order of their bytes
    keys.sort(key=None if is_plain else place_of)


def _first_after(beginning: bytes) -> bytes:
    """Return the first bytes after all that begin so, or b"" if there are none."""
    less = beginning.rstrip(b"\xff")  # no byte follows this one
    return less[:-1] + bytes([less[-1] + 1]) if less else b""
