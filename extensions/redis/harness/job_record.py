"""The jobs of a queue while leaders change: what programs printed, and which jobs were done."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

LINE = re.compile(r"did put (\S+) (\S+)|failed put (\S+) (.*)")
REASON = 60  # characters


class JobRecord:
    """Jobs by their outcome. A job whose addition failed may be there, or not."""

    def __init__(self) -> None:
        self.acknowledged: set[str] = set()
        self.failed: set[str] = set()
        self.reasons: Counter[str] = Counter()
        self.slowest_s = 0.0
        self.done: Counter[str] = Counter()

    def take(self, lines: Iterable[str]) -> Iterator[str]:
        """Record the output of the program that adds jobs; yield the lines about failures."""
        for line in lines:
            if (match := LINE.fullmatch(line)) is None:
                continue
            added, seconds, failed, reason = match.groups()
            if added:
                self.acknowledged.add(added)
                self.slowest_s = max(self.slowest_s, float(seconds))
            else:
                self.failed.add(failed)
                self.reasons[reason[:REASON]] += 1
                yield line

    @property
    def lost(self) -> list[str]:
        return sorted(self.acknowledged - self.done.keys(), key=int)

    @property
    def twice(self) -> list[str]:
        return sorted((job for job, times in self.done.items() if times > 1), key=int)

    @property
    def invented(self) -> list[str]:
        return sorted(self.done.keys() - self.acknowledged - self.failed)
