"""The record of a program with a library of Redis while leaders were killed, and its judge.

The program prints a line for each operation, once it knows what became of it: `did WORD ITEM`, or
`failed WORD ITEM REASON`, after which the operation may have taken effect, or not. The words:

    put, take    an item was added, and removed; each item is added once
    count        a counter counted one more
    lock, unlock a worker holds a lock; it prints `leaving WORKER` before it releases it

At its end it reads what is there: `holds ITEM` for each item, `counts NUMBER` for a counter.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable

LINE = re.compile(
    r"(did|failed) (put|take|count|lock|unlock) (\S+) ?(.*)|(leaving|holds|counts) (\S+)"
)
NAMED = 5  # of the items of one finding


class ProgramRecord:
    """The output of one program."""

    def __init__(self) -> None:
        self.did: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.others: list[str] = []  # lines with which a program fails
        self.reason = ""  # of the last operation that failed
        self._put: dict[str, bool] = {}  # whether the addition of an item was acknowledged
        self._copies: defaultdict[str, list[str]] = defaultdict(list)  # where an item was seen
        self._counted: list[int] = []
        self._holder = ""
        self._broken: list[str] = []

    def take(self, lines: Iterable[str]) -> None:
        """Record lines in their order."""
        for line in lines:
            match = LINE.fullmatch(line)
            if match is None:
                self.others.append(line)
            elif match[1]:
                self._outcome(match[1] == "did", match[2], match[3], match[4])
            else:
                self._fact(match[5], match[6])

    def _outcome(self, is_done: bool, word: str, item: str, reason: str) -> None:
        (self.did if is_done else self.failed)[word] += 1
        self.reason = reason or self.reason
        if word == "put":
            self._put[item] = is_done
        elif word == "take" and is_done:
            self._copies[item].append("taken")
        elif word == "lock" and is_done:
            if self._holder:
                self._broken.append(f"{item} got the lock that {self._holder} held")
            self._holder = item

    def _fact(self, what: str, item: str) -> None:
        if what == "holds":
            self._copies[item].append("there")
        elif what == "counts":
            self._counted.append(int(item))
        else:
            self._holder = ""

    def findings(self) -> list[str]:
        """Return what must not be, once the program has ended."""
        found = self._broken[:NAMED]
        lost = [item for item, known in self._put.items() if known and item not in self._copies]
        if len(lost) > self.failed["take"]:  # whose answer may have had an item
            found.append(f"{len(lost)} items are lost: {lost[:NAMED]}")
        twice = [f"{item} {each}" for item, each in self._copies.items() if len(each) > 1]
        if twice:
            found.append(f"{len(twice)} items are there twice: {twice[:NAMED]}")
        invented = [item for item in self._copies if item not in self._put]
        if invented:
            found.append(f"nobody added {invented[:NAMED]}")
        done, failed = self.did["count"], self.failed["count"]
        for counted in self._counted:
            if not done <= counted <= done + failed:
                found.append(f"the counter says {counted}, after {done} and perhaps {failed} more")
        if done and not self._counted:
            found.append("the program has not read its counter")
        return found
