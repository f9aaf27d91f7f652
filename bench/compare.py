"""Compare two results: `python bench/compare.py OLD.json NEW.json` prints ratios, new to old.

Rows are matched by name and system. A ratio whose rounds overlap with the old ones has a `~`: the
difference may be chance. Exits with 2 if a file holds no results, or the two have no common row.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from generator import BenchError
from results import Results, Row, load, median
from tables import HEADINGS, Cells, as_text, number


def ratio(old: Sequence[float], new: Sequence[float]) -> str:
    """Return the ratio of the medians, new to old, with `~` in front if the rounds of both
    overlap."""
    if not old or not new or not median(old):
        return ""
    overlap = max(min(old), min(new)) <= min(max(old), max(new))
    return ("~" if overlap else "") + number(median(new) / median(old))


def differences(old: Results, new: Results) -> Cells:
    """Return a line for each common row."""
    before = {(row.name, row.system): row for row in old.rows}
    pairs = [(before[key], row) for row in new.rows if (key := (row.name, row.system)) in before]
    figures = list(dict.fromkeys(figure for _, row in pairs for figure in row.figures))
    cells = [["new / old", "system", *(HEADINGS.get(figure, figure) for figure in figures)]]
    for then, now in pairs:
        ratios = [ratio(then.figures.get(one, []), now.figures.get(one, [])) for one in figures]
        cells.append([now.name, now.system, *ratios])
    return cells


def remarks(old: Results, new: Results) -> list[str]:
    """Return further remarks for a reader of the ratios."""
    lines = [
        f"{fact} differs: {old.machine.get(fact, 'unknown')}, now {value}"
        for fact, value in new.machine.items()
        if old.machine.get(fact) != value
    ]
    lines += [
        f"{name} differs: {old.settings.get(name, 'unknown')}, now {value}"
        for name, value in new.settings.items()
        if old.settings.get(name) != value
    ]
    lines += [f"only in the old file: {name}" for name in _only(old.rows, new.rows)]
    return lines + [f"only in the new file: {name}" for name in _only(new.rows, old.rows)]


def _only(rows: Sequence[Row], others: Sequence[Row]) -> list[str]:
    names = {(row.name, row.system) for row in others}
    return [f"{row.name} ({row.system})" for row in rows if (row.name, row.system) not in names]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", metavar="OLD", type=Path)
    parser.add_argument("new", metavar="NEW", type=Path)
    arguments = parser.parse_args(argv)
    try:
        old, new = load(arguments.old), load(arguments.new)
    except BenchError as error:
        print(error, file=sys.stderr)
        return 2
    cells = differences(old, new)
    if len(cells) == 1:
        print(
            f"{arguments.old} ({old.kind}) and {arguments.new} ({new.kind}) have no row in "
            "common: nothing to compare",
            file=sys.stderr,
        )
        return 2
    print(as_text(cells))
    for remark in remarks(old, new):
        print(remark)
    return 0


if __name__ == "__main__":
    sys.exit(main())
