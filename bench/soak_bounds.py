"""Bounds of growth in the soak: the last quarter of the windows compared with the first.

Run by itself, this judges the results of a soak again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from generator import BenchError
from results import load
from tables import Cells, as_markdown, number, provenance

Figures = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Bound:
    """The maximum of the last quarter's median: the first's times `times`, and `plus`."""

    title: str
    times: float
    plus: float

    def most(self, first: float) -> float:
        return first * self.times + self.plus


BOUNDS = {
    "memory": Bound("memory of s1 and s2, MiB", 1.05, 8),
    "descriptors": Bound("descriptors of all three", 1, 12),
    "threads": Bound("threads of all three", 1, 12),
    "files": Bound("files of all three, MiB", 1.25, 32),
    "p99_ms": Bound("p99 of a set, ms", 1.5, 5),
}
CALM = "p99 of a set in calm windows, ms"
UNBOUND = {
    "consoles": "output of all consoles, MiB",
    "p50_ms": "p50 of a set, ms",
    "p999_ms": "p99.9 of a set, ms",
    "per_s": "sets a second",
    "events_s": "events a second",
    "sync_ms": "longest sync of a file, ms",
    "collection_ms": "longest collection of garbage, ms",
    "others_cpu": "others, CPU s/s",
}
LEAST = 8  # windows: two in each quarter
# CPU s/s of other processes, by which two quarters may differ and still be compared directly
LIKE_CPU = 0.1
HEADING = ["", *(f"{nth} quarter" for nth in ("first", "second", "third", "last")), "highest",
           "bound of the last"]  # fmt: skip


def quarters(values: Sequence[float]) -> list[Sequence[float]]:
    """Return the values of each quarter."""
    size = max(1, len(values) // 4)
    last = len(values) - size
    return [values[:size], values[size : 2 * size], values[last - size : last], values[last:]]


def calm(values: Sequence[float]) -> float:
    """Return the lower quartile of the values: other work raises the rest."""
    return sorted(values)[(len(values) - 1) // 4]


def judge(figures: Figures) -> tuple[Cells, list[str]]:
    """Return a table, and a line for each figure that grew beyond its bound."""
    cells: Cells = [HEADING]
    grown = []

    def look(title: str, found: Sequence[float], highest: str, bound: Bound | None) -> None:
        shown = [*map(number, found), highest]
        most = bound.most(found[0]) if bound else 0.0
        cells.append([title, *shown, number(most) if bound else ""])
        if bound and found[-1] > most:
            grown.append(
                f"{title}: {shown[0]} in the first quarter, {shown[3]} in the last; "
                f"the bound is {number(most)}"
            )

    others = [median(each) for each in quarters(figures["others_cpu"])]
    is_like = others[-1] - others[0] <= LIKE_CPU
    for name, bound in BOUNDS.items():
        parts, highest = quarters(figures[name]), number(max(figures[name]))
        judged = bound if name != "p99_ms" or is_like else None
        look(bound.title, [median(each) for each in parts], highest, judged)
    waits = quarters(figures["p99_ms"])
    look(CALM, [calm(each) for each in waits], "", BOUNDS["p99_ms"])
    for name, title in UNBOUND.items():
        if name in figures:
            parts = quarters(figures[name])
            look(title, [median(each) for each in parts], number(max(figures[name])), None)
    return cells, grown


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="the results of a soak: build/bench/soak-….json")
    try:
        results = load(parser.parse_args().file)
    except BenchError as error:
        parser.error(str(error))
    cells, grown = judge(results.rows[0].figures)
    print(f"{as_markdown(cells)}\n\n{provenance(results)}")
    for each in grown:
        print(f"not well: {each}", file=sys.stderr)
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
