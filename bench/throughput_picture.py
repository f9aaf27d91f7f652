"""Throughput against latency as a picture: a panel for sets and one for gets, a line for each
system.

`make -C bench table` draws it from the newest whole results. The same results give the same bytes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from results import Results, median
from svg import as_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

Point = tuple[int, float, float]  # connections, requests a second, p99 in ms
Panel = dict[str, list[Point]]  # by system

LOAD = re.compile(r"^(set|get), (\d+)$")
STYLES = {  # colour, and shape of the points
    "raftline": ("#0969da", "o"),
    "raftline-wheel": ("#8250df", "s"),
    "etcd": ("#bc4c00", "^"),
    "PySyncObj": ("#1a7f37", "D"),
    "redis": ("#6e7781", "v"),
}
WIDTH, HEIGHT, POINTS_PER_INCH = 860, 420, 72
TITLE = "Requests a second, and the 99th percentile of their waits"


def panels(results: Results) -> dict[str, Panel]:
    """Return the points of each system, by kind of request."""
    found: dict[str, Panel] = {"set": {}, "get": {}}
    for row in results.rows:
        rates, waits = row.figures.get("per_s"), row.figures.get("p99_ms")
        match = LOAD.match(row.name)
        if match and row.system in STYLES and rates and waits and min(waits) > 0:
            point = int(match[2]), median(rates), median(waits)
            found[match[1]].setdefault(row.system, []).append(point)
    for panel in found.values():
        for points in panel.values():
            points.sort()
    return found


def figure_of(results: Results) -> Figure | None:
    """Return the figure; None if the results have nothing to draw."""
    points = panels(results)
    counts = {count for panel in points.values() for line in panel.values() for count, _, _ in line}
    if not counts:
        return None
    # takes a while, and is only needed for drawing
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

    size = (WIDTH / POINTS_PER_INCH, HEIGHT / POINTS_PER_INCH)
    figure = Figure(figsize=size, layout="constrained")
    both = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, (what, panel) in zip(both, points.items(), strict=True):
        axes.set_title(f"{what}: p99 in ms", loc="left", weight="bold")
        axes.set_yscale("log")
        axes.grid(color="#d0d7de")
        for system, (colour, shape) in STYLES.items():
            if system in panel:
                _, rates, waits = zip(*panel[system], strict=True)
                axes.plot(rates, waits, color=colour, marker=shape, label=system)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.tick_params(labelleft=True)
    lines = {line.get_label(): line for axes in both for line in axes.get_lines()}
    systems = [system for system in STYLES if system in lines]
    figure.legend(
        [lines[one] for one in systems], systems, loc="outside upper left", ncols=len(systems)
    )
    figure.supxlabel(
        f"Requests a second. Points of a line: {', '.join(map(str, sorted(counts)))} connections. "
        f"Lower and farther right is better. {results.date}",
        size="medium",
    )
    return figure


def draw(results: Results) -> str | None:
    """Return the picture; None if the results have nothing to draw."""
    figure = figure_of(results)
    return None if figure is None else as_svg(figure, TITLE)
