"""Throughput against latency as a picture: a panel for sets and one for gets, a line a system.

`make bench-table` draws it from the newest whole results. The same results give the same bytes.
"""

from __future__ import annotations

import math
import re
from html import escape

from results import Results, median

Point = tuple[int, float, float]  # connections, requests a second, p99 in ms
Panel = dict[str, list[Point]]  # by system

LOAD = re.compile(r"^(set|get), (\d+)$")
# Colour on white, colour on black, shape of the points.
STYLES = {
    "raftline": ("#0969da", "#4493f8", "circle"),
    "raftline-wheel": ("#8250df", "#ab7df8", "square"),
    "etcd": ("#bc4c00", "#f0883e", "up"),
    "PySyncObj": ("#1a7f37", "#3fb950", "diamond"),
    "redis": ("#6e7781", "#9198a1", "down"),
}
WIDTH, HEIGHT = 860, 420
PLOT_WIDTH, PLOT_HEIGHT, TOP = 330, 262, 84
LEFTS = (66, 494)  # of the two panels
SHAPES = {  # around the point
    "square": ((-4.5, -4.5), (4.5, -4.5), (4.5, 4.5), (-4.5, 4.5)),
    "up": ((0, -6), (5.5, 4.5), (-5.5, 4.5)),
    "down": ((0, 6), (5.5, -4.5), (-5.5, -4.5)),
    "diamond": ((0, -6), (6, 0), (0, 6), (-6, 0)),
}
LIGHT = """
.panel{fill:#ffffff;stroke:#d0d7de}
text{font:13px system-ui,"Segoe UI",Helvetica,Arial,sans-serif;fill:#1f2328}
.title{font-weight:bold;font-size:15px}
.quiet{fill:#59636e}
.grid{stroke:#d0d7de}
.line{fill:none;stroke-width:2}
"""
DARK = """
.panel{fill:#0d1117;stroke:#3d444d}
text{fill:#f0f6fc}
.quiet{fill:#9198a1}
.grid{stroke:#3d444d}
"""


def panels(results: Results) -> dict[str, Panel]:
    """Return the points of each system, by what was asked."""
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


class Scale:
    """Places in a panel: requests a second to the right, and waits upwards by their logarithm."""

    def __init__(self, points: list[Point]) -> None:
        most = max(rate for _, rate, _ in points)
        self.step = _round_step(most / 4)
        self.most = self.step * math.ceil(most / self.step)
        waits = [wait for _, _, wait in points]
        self.low = 10.0 ** math.floor(math.log10(min(waits)))
        self.high = 10.0 ** math.ceil(math.log10(max(waits) * 1.0001))

    def x(self, rate: float) -> float:
        return rate / self.most * PLOT_WIDTH

    def y(self, wait: float) -> float:
        share = math.log10(wait / self.low) / math.log10(self.high / self.low)
        return TOP + PLOT_HEIGHT * (1 - share)

    def rates(self) -> list[float]:
        return [self.step * n for n in range(round(self.most / self.step) + 1)]

    def waits(self) -> list[float]:
        decades = round(math.log10(self.high / self.low))
        return [self.low * 10**n for n in range(decades + 1)]


def _round_step(least: float) -> float:
    """Return the next larger 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least)


def draw(results: Results) -> str | None:
    """Return the picture; None where the results have nothing to draw."""
    found = panels(results)
    points = [one for panel in found.values() for line in panel.values() for one in line]
    if not points:
        return None
    systems = [name for name in STYLES if any(name in panel for panel in found.values())]
    scale = Scale(points)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        "<title>Requests a second, and the 99th percentile of their waits</title>",
        f"<style>{_style(systems)}</style>",
        f'<rect class="panel" x="1" y="1" width="{WIDTH - 2}" height="{HEIGHT - 2}" rx="8"/>',
        *_legend(systems),
    ]
    for (what, panel), left in zip(found.items(), LEFTS, strict=True):
        parts += [f'<g transform="translate({left} 0)">', *_axes(what, scale)]
        for name in systems:
            parts += _line(f"{name}, {what}", systems.index(name), panel.get(name, []), scale)
        parts.append("</g>")
    text = f"{_loads(points)} Lower and farther right is better. {results.date}"
    parts.append(_text(WIDTH / 2, HEIGHT - 14, text, "quiet"))
    return "\n".join([*parts, "</svg>\n"])


def _loads(points: list[Point]) -> str:
    counts = sorted({count for count, _, _ in points})
    return f"Points of a line: {', '.join(map(str, counts))} connections."


def _style(systems: list[str]) -> str:
    light, dark = (
        [
            f".s{n}{{stroke:{STYLES[name][place]}}}\n.p{n}{{fill:{STYLES[name][place]}}}\n"
            for n, name in enumerate(systems)
        ]
        for place in (0, 1)
    )
    return f"{LIGHT}{''.join(light)}@media (prefers-color-scheme:dark){{{DARK}{''.join(dark)}}}"


def _legend(systems: list[str]) -> list[str]:
    parts, place = [], float(LEFTS[0])
    for n, name in enumerate(systems):
        parts += [_mark(n, name, place, 26), _text(place + 12, 30, name, anchor="start")]
        place += 44 + 8 * len(name)
    return parts


def _axes(what: str, scale: Scale) -> list[str]:
    bottom = TOP + PLOT_HEIGHT
    parts = [_text(0, TOP - 16, f"{what}: p99 in ms", "title", "start")]
    for wait in scale.waits():
        y = scale.y(wait)
        parts.append(f'<line class="grid" x1="0" y1="{y:.1f}" x2="{PLOT_WIDTH}" y2="{y:.1f}"/>')
        parts.append(_text(-8, y + 4, f"{wait:g}", "quiet", "end"))
    for rate in scale.rates():
        x = scale.x(rate)
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}"/>')
        parts.append(_text(x, bottom + 18, f"{rate:,.0f}", "quiet"))
    parts.append(_text(PLOT_WIDTH / 2, bottom + 36, "requests a second", "quiet"))
    return parts


def _line(name: str, n: int, points: list[Point], scale: Scale) -> list[str]:
    if not points:
        return []
    places = [(scale.x(rate), scale.y(wait)) for _, rate, wait in points]
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts = [f'<polyline class="line s{n}" points="{joined}"/>']
    for (count, rate, wait), (x, y) in zip(points, places, strict=True):
        label = f"{name}, {count}: {rate:,.0f} a second, p99 {wait:.2f} ms"
        mark = _mark(n, name.partition(",")[0], x, y)
        parts.append(f"<g><title>{escape(label)}</title>{mark}</g>")
    return parts


def _mark(n: int, name: str, x: float, y: float) -> str:
    shape = STYLES[name][2]
    if shape == "circle":
        return f'<circle class="p{n}" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
    corners = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in SHAPES[shape])
    return f'<polygon class="p{n}" points="{corners}"/>'


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "middle") -> str:
    about = f' class="{kind}"' if kind else ""
    return f'<text{about} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
