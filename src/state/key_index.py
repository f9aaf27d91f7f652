"""The keys in order, so that the keys with a prefix are found without a scan of the others. Pure.

A new key is only noted. The next query sorts it in. The keys are in sorted runs of bounded length,
so that no step takes a long time. Short runs are merged as they arrive. A removed key stays until a
query meets it.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Callable, Container, Iterable
from typing import Final

from ..common.process.wakeup import Breathe

RUN_KEYS: Final = 16_384  # in a run, which is sorted or merged in a few ms


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

    def under(self, prefix: str, held: Container[str], breathe: Breathe) -> list[str]:
        """Return the keys that begin with an escaped prefix, each once, in no particular order."""
        self._sort_in(breathe)
        keys: dict[str, None] = {}
        for run in self._runs:
            begin, end = _part(run, prefix)
            here = [key for key in run[begin:end] if key in held]
            if len(here) < end - begin:
                self.count -= end - begin - len(here)
                run[begin:end] = here
            keys.update(dict.fromkeys(here))
        return list(keys)

    def has_any(
        self, prefix: str, held: Container[str], fits: Callable[[str], bool], breathe: Breathe
    ) -> bool:
        """Return whether a key with the prefix fits."""
        self._sort_in(breathe)
        for run in self._runs:
            begin, end = _part(run, prefix)
            gone = begin
            while gone < end and run[gone] not in held:
                gone += 1
            del run[begin:gone]
            self.count -= gone - begin
            if any(key in held and fits(key) for key in run[begin : end - gone + begin]):
                return True
        return False

    def _sort_in(self, breathe: Breathe) -> None:
        if self.new:
            self._runs = [run for run in self._runs if run]
        while self.new:
            part = self.new[-RUN_KEYS:]
            del self.new[-RUN_KEYS:]
            part.sort()
            runs = self._runs
            while runs and len(runs[-1]) <= 2 * len(part) <= RUN_KEYS:
                part = sorted(runs.pop() + part)  # both runs are sorted, so this is a merge
            runs.append(part)
            if self.new:
                breathe()


def _part(run: list[str], prefix: str) -> tuple[int, int]:
    """Return where the keys with a prefix begin and end in a run."""
    begin, after = bisect_left(run, prefix), text_after(prefix)
    return begin, bisect_left(run, after, begin) if after else len(run)


def text_after(prefix: str) -> str:
    """Return the first text after all texts with a prefix, or "" if there is none."""
    less = prefix.rstrip(chr(sys.maxunicode))  # no character follows this one
    return less[:-1] + chr(ord(less[-1]) + 1) if less else ""
