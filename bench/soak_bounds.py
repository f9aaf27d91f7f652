"""Bounds of growth in the soak: the last quarter of the windows beside the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from tables import Cells, number


@dataclass(frozen=True)
class Bound:
    """The most that the last quarter's median may be: the first's times `times`, and `plus`."""

    title: str
    times: float
    plus: float

    def most(self, first: float) -> float:
        return first * self.times + self.plus


BOUNDS = {
    "memory": Bound("memory of s1 and s2, MiB", 1.15, 8),
    "descriptors": Bound("descriptors of all three", 1, 12),
    "threads": Bound("threads of all three", 1, 12),
    "files": Bound("files of all three, MiB", 1.25, 32),
    "p99_ms": Bound("p99 of a set, ms", 1.5, 5),
}
UNBOUND = {
    "p50_ms": "p50 of a set, ms",
    "per_s": "sets a second",
    "events_s": "events a second",
    "others_cpu": "others, CPU s/s",
}
LEAST = 8  # windows: two in each quarter


def quarters(values: Sequence[float]) -> tuple[float, float]:
    """Return the medians of the first and of the last quarter."""
    size = max(1, len(values) // 4)
    return median(values[:size]), median(values[-size:])


def judge(figures: Mapping[str, Sequence[float]]) -> tuple[Cells, list[str]]:
    """Return a table, and a line for each figure that grew beyond its bound."""
    cells: Cells = [["", "first quarter", "last quarter", "highest", "bound of the last"]]
    grown = []
    for name, bound in BOUNDS.items():
        first, last = quarters(figures[name])
        most = bound.most(first)
        shown = [number(each) for each in (first, last, max(figures[name]), most)]
        cells.append([bound.title, *shown])
        if last > most:
            grown.append(f"{bound.title}: {shown[0]} in the first quarter, {shown[1]} in the last; "
                         f"the bound is {shown[3]}")  # fmt: skip
    for name, title in UNBOUND.items():
        shown = [number(each) for each in (*quarters(figures[name]), max(figures[name]))]
        cells.append([title, *shown, ""])
    return cells, grown
