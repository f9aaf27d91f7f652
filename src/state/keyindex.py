"""The keys in order, so that those with a prefix are found without a look at all the others. Pure.

A key that comes is only noted; it is sorted in once somebody asks. The keys lie in sorted runs of
a bounded length, so that no step takes long: short runs are merged as they come. A key that goes
stays until a look meets it.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Callable, Container, Iterable
from typing import Final

from ..common.wakeup import Breathe

RUN_KEYS: Final = 16_384  # of a run, sorted or merged in a few ms


class KeyIndex:
    """An index of the keys of a store, which counts as `held` what is there by now."""

    def __init__(self, keys: Iterable[str]) -> None:
        self.new = list(keys)  # not sorted in yet
        self.count = len(self.new)  # of all, those among them that are gone
        self._runs: list[list[str]] = []

    def add(self, key: str) -> None:
        """Take a key that was absent."""
        self.new.append(key)
        self.count += 1

    def under(self, prefix: str, held: Container[str], breathe: Breathe) -> list[str]:
        """Return the keys that begin with a prefix, as it is spelled, each once and in no order."""
        self._sort_in(breathe)
        found: dict[str, None] = {}
        for run in self._runs:
            begin, end = _part(run, prefix)
            here = [key for key in run[begin:end] if key in held]
            if len(here) < end - begin:
                self.count -= end - begin - len(here)
                run[begin:end] = here
            found.update(dict.fromkeys(here))
        return list(found)

    def has_any(
        self, prefix: str, held: Container[str], fits: Callable[[str], bool], breathe: Breathe
    ) -> bool:
        """Return whether one of these keys fits."""
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
                part = sorted(runs.pop() + part)  # of two runs that are sorted: a merge
            runs.append(part)
            if self.new:
                breathe()


def _part(run: list[str], prefix: str) -> tuple[int, int]:
    """Return where the keys with a prefix begin in a run, and end."""
    begin, after = bisect_left(run, prefix), text_after(prefix)
    return begin, bisect_left(run, after, begin) if after else len(run)


def text_after(prefix: str) -> str:
    """Return the first text after all those with a prefix; "" if none comes after them."""
    less = prefix.rstrip(chr(sys.maxunicode))  # a character that none follows
    return less[:-1] + chr(ord(less[-1]) + 1) if less else ""
