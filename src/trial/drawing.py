"""Shapes as SVG text, and the scales and axes that place them. Colours are classes: see page.py."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

WIDTH = 960
LEFT, RIGHT = 96, 60  # room for the names of rows, and for labels at the right end


def tag(name: str, content: str = "", **attributes: object) -> str:
    """Return one element; `content` is markup already. `kind_` stands for `kind`, `_` for `-`."""
    parts = [name]
    for key, value in attributes.items():
        shown = f"{value:.1f}" if isinstance(value, float) else str(value)
        parts.append(f'{key.rstrip("_").replace("_", "-")}="{html.escape(shown)}"')
    head = " ".join(parts)
    return f"<{head}>{content}</{name}>" if content else f"<{head}/>"


def text(x: float, y: float, words: str, class_: str = "label", **attributes: object) -> str:
    """Return a text whose base line begins at (x, y)."""
    return tag("text", html.escape(words), x=x, y=y, class_=class_, **attributes)


def bar(x: float, y: float, to: float, height: float, class_: str, tip: str) -> str:
    """Return a bar from `x` to `to`, at least a pixel wide, that tells `tip` under the mouse."""
    return tag(
        "rect", tag("title", html.escape(tip)), x=x, y=y, width=max(1.0, to - x), height=height,
        class_=class_,
    )  # fmt: skip


def dot(x: float, y: float, radius: float, class_: str, tip: str = "") -> str:
    """Return a dot; it tells `tip`, if there is one, under the mouse."""
    told = tag("title", html.escape(tip)) if tip else ""
    return tag("circle", told, cx=x, cy=y, r=radius, class_=class_)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> str:
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def drawing(shapes: Iterable[str], height: float, what: str) -> str:
    """Return the whole picture, as wide as the page; `what` says what it shows."""
    title = tag("title", html.escape(what))
    view = f"0 0 {WIDTH} {height:.0f}"
    return tag("svg", title + "".join(shapes), viewBox=view, role="img", aria_label=what)


@dataclass(frozen=True)
class Seconds:
    """The scale from left to right: seconds since the start of the trial."""

    end: float

    def x(self, seconds: float) -> float:
        inside = min(max(seconds, 0.0), self.end)
        return LEFT + (WIDTH - LEFT - RIGHT) * inside / self.end

    def axis(self, y: float, top: float) -> Iterator[str]:
        """Yield marks with their seconds below `y`, a faint line up to `top` at each, and what
        the axis shows."""
        yield text(WIDTH - RIGHT, y + 34, "time since the start", "label end")
        step = next((each for each in _STEPS if self.end / each <= 15), 600)
        for number in range(int(self.end / step) + 1):
            x = self.x(number * step)
            yield line(x, top, x, y, "grid")
            yield text(x, y + 16, f"{number * step:g} s", "label middle")


_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300)


@dataclass(frozen=True)
class Logarithmic:
    """The scale from the bottom up: positive numbers, each power of ten as far from the next."""

    low: int  # powers of ten
    high: int
    top: float
    bottom: float

    @classmethod
    def over(cls, values: Iterable[float], top: float, bottom: float) -> Logarithmic:
        """Return the scale that has room for all of them."""
        powers = [math.log10(value) for value in values if value > 0] or [0.0]
        low = math.floor(min(powers))
        return cls(low, max(low + 1, math.ceil(max(powers))), top, bottom)

    def y(self, value: float) -> float:
        power = math.log10(value) if value > 0 else self.low
        share = (min(max(power, self.low), self.high) - self.low) / (self.high - self.low)
        return self.bottom - (self.bottom - self.top) * share
