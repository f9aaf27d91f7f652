"""Two pictures of a trial: the events over time, and the latency of each request.

They are SVG; this module also has the shapes, scales and axes. Colours are classes: see report.py.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from raftline_course.trial.record import Record, RequestRecord, counted, percentile
from raftline_course.trial.servers import Health
from raftline_course.trial.trial_messages import UNKNOWN_LEADER, in_words

WIDTH = 960
LEFT, RIGHT = 96, 60  # room for the names of rows, and for labels at the right end
ROW, BAR = 26, 18
TOP = 30
TELLING_MAX = 2_000  # requests
NAMED = 40.0  # a bar of this width has room for its name
COLOURS = 6
Span = tuple[float, float, str, str]  # from, to, class, description


def tag(name: str, content: str = "", **attributes: object) -> str:
    """Return one element; `content` is markup already. `kind_` means `kind`, and `_` means `-`."""
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
    """Return a bar from `x` to `to`, at least a pixel wide, that shows `tip` under the mouse."""
    return tag(
        "rect",
        tag("title", html.escape(tip)),
        x=x,
        y=y,
        width=max(1.0, to - x),
        height=height,
        class_=class_,
    )


def dot(x: float, y: float, radius: float, class_: str, tip: str = "") -> str:
    """Return a dot, which shows `tip`, if any, under the mouse."""
    title = tag("title", html.escape(tip)) if tip else ""
    return tag("circle", title, cx=x, cy=y, r=radius, class_=class_)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> str:
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def drawing(shapes: Iterable[str], height: float, what: str) -> str:
    """Return the whole picture, as wide as the page; `what` is its title."""
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
        """Yield marks with their seconds below `y`, a faint line up to `top` at each, and the axis
        label."""
        yield text(WIDTH - RIGHT, y + 34, "time since the start", "label end")
        step = next((each for each in _STEPS if self.end / each <= 15), 600)
        for number in range(int(self.end / step) + 1):
            x = self.x(number * step)
            yield line(x, top, x, y, "grid")
            yield text(x, y + 16, f"{number * step:g} s", "label middle")


_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300)


@dataclass(frozen=True)
class Logarithmic:
    """The scale from the bottom up: positive numbers, with equal distances between powers of
    ten."""

    low: int  # powers of ten
    high: int
    top: float
    bottom: float

    @classmethod
    def over(cls, values: Iterable[float], top: float, bottom: float) -> Logarithmic:
        """Return a scale with room for all values."""
        powers = [math.log10(value) for value in values if value > 0] or [0.0]
        low = math.floor(min(powers))
        return cls(low, max(low + 1, math.ceil(max(powers))), top, bottom)

    def y(self, value: float) -> float:
        power = math.log10(value) if value > 0 else self.low
        share = (min(max(power, self.low), self.high) - self.low) / (self.high - self.low)
        return self.bottom - (self.bottom - self.top) * share


def timeline(record: Record) -> str:
    """Return the picture of leaders, faults and standstills over time."""
    scale = Seconds(max(record.ended, 0.1))
    rows = [("leader", list(_leader_spans(record)))]
    rows += [(server, list(_health_spans(record, server))) for server in record.servers]
    rows += [
        ("network", list(_network_spans(record, "part"))),
        ("losses", list(_network_spans(record, "drop"))),
        ("no answers", list(_alike(record.standstills(), "failed", "no answers"))),
        ("requests", list(_request_spans(record))),
    ]
    if record.stalls:
        rows.append(("simulator", list(_alike(record.stalls, "paused", "stood still"))))
    rows = [(name, spans) for name, spans in rows if spans]
    bottom = TOP + ROW * len(rows)
    shapes = list(scale.axis(bottom, TOP))
    for number, (name, spans) in enumerate(rows):
        y = TOP + ROW * number + (ROW - BAR) / 2
        shapes.append(text(LEFT - 10, y + 13, name, "label end"))
        for since, to, class_, what in spans:
            x, end = scale.x(since), scale.x(to)
            tip = f"{what}: {since:.2f} s to {to:.2f} s"
            shapes.append(bar(x, y, end, BAR, class_, tip))
            if name := _fitting(what, end - x):
                shapes.append(text(x + 5, y + 13, name, "inside"))
    shapes += _marks(record, scale, bottom)
    return drawing(shapes, bottom + 40, "Leaders, faults and standstills over time")


def _fitting(what: str, width: float) -> str:
    """Return the name of a bar, only the term for a leader, or "", depending on the room."""
    if width >= max(NAMED, 7.0 * len(what)):
        return what
    term = what.partition(" term ")[2]
    return term if term and width >= 7.0 * len(term) + 8 else ""


def _marks(record: Record, scale: Seconds, bottom: float) -> Iterator[str]:
    """Yield a line through all rows at each event, with its number in the list."""
    free_from = 0.0
    for number, event in enumerate(record.events, start=1):
        x = scale.x(event.at)
        yield line(x, TOP - 4, x, bottom, "event")
        if x >= free_from:  # else it would overlap the previous one
            shown = text(x, TOP - 9, str(number), "label middle strong")
            yield tag("a", shown, href=f"#event-{number}", aria_label=f"event {number}")
            free_from = x + 16


def _leader_spans(record: Record) -> Iterator[Span]:
    ends = [at for at, _ in record.leaders[1:]] + [record.ended]
    for (since, leader), to in zip(record.leaders, ends, strict=True):
        if leader == UNKNOWN_LEADER:
            yield since, to, "none", in_words(leader)
            continue
        class_ = f"colour{record.servers.index(leader) % COLOURS}"
        for begin, end, term in _terms_of(record, leader, since, to):
            yield begin, end, class_, in_words(leader) + (f" term {term}" if term else "")


def _terms_of(
    record: Record, leader: str, since: float, to: float
) -> Iterator[tuple[float, float, int]]:
    """Yield (from, to, term) of each term of a leader in this time; 0 if it is unknown."""
    own = [(at, term) for at, who, term in record.terms if who == leader and at < to]
    inside = [(at, term) for at, term in own if at > since]
    before = [term for at, term in own if at <= since]
    parts = [(since, before[-1] if before else 0), *inside]
    ends = [*(at for at, _ in parts[1:]), to]
    for (begin, term), end in zip(parts, ends, strict=True):
        yield begin, end, term


def _health_spans(record: Record, server: str) -> Iterator[Span]:
    since, health = 0.0, Health.UP
    for at, who, new in [*record.health, (record.ended, server, Health.UP)]:
        if who == server:
            if at > since:
                yield since, at, health.value, health.value
            since, health = at, new


def _network_spans(record: Record, family: str) -> Iterator[Span]:
    """Yield the partitions (`part`), or the losses (`drop`). A span ends at the next event of its
    family, or at the end of the trial."""
    events = [event for event in record.events if event.category.split()[0] == family]
    ends = [*(event.at for event in events), record.ended][1:]
    for event, to in zip(events, ends, strict=True):
        if not event.category.endswith("end"):
            what = event.category if family == "part" else event.text.partition(" of")[0] + " lost"
            yield event.at, to, family, what


def _alike(times: Iterable[tuple[float, float]], class_: str, what: str) -> Iterator[Span]:
    for since, to in times:
        yield since, to, class_, what


def _request_spans(record: Record) -> Iterator[Span]:
    if record.requests:
        first, last = record.requests[0].due, record.requests[-1].due
        yield first, last, "up", counted(len(record.requests), "request")


def latencies(record: Record) -> str:
    """Return the picture of each request's latency, with the percentiles."""
    top, bottom = 20.0, 260.0
    ordered = record.latencies()
    across = Seconds(max(record.ended, 0.1))
    up = Logarithmic.over(ordered, top, bottom)
    shapes = list(across.axis(bottom, top))
    for power in range(up.low, up.high + 1):
        y = up.y(10.0**power)
        shapes.append(line(LEFT, y, WIDTH - RIGHT, y, "grid"))
        shapes.append(text(LEFT - 10, y + 4, _duration(10.0**power), "label end"))
    shapes += _dots(record, ordered, across, up)
    shapes += _percentile_lines(ordered, up)
    shapes += _legend(bottom + 34)
    if not ordered:
        middle = (LEFT + WIDTH - RIGHT) / 2
        shapes.append(text(middle, (top + bottom) / 2, "no request was answered", "label middle"))
    return drawing(shapes, bottom + 46, "Latency of each request, by the time it was due")


def _dots(record: Record, ordered: list[float], across: Seconds, up: Logarithmic) -> Iterator[str]:
    """Yield a dot for each answer, and a cross for each missing one. Each has a tip under the
    mouse; if there are very many, only the slowest do, or the page would become slow."""
    many = len(record.requests) > TELLING_MAX
    slow = (percentile(ordered, 0.99) or 0.0) if many else 0.0
    for request in record.requests:
        x, latency = across.x(request.due), request.latency
        if latency is None:
            tip = tag("title", html.escape(_tip(request)))
            yield tag("text", f"×{tip}", x=x, y=up.top + 4, class_="lost middle")
        else:
            tip = "" if many and latency <= slow else _tip(request)
            yield dot(x, up.y(latency), 1.5 if many else 2.5, request.category, tip)


def _tip(asked: RequestRecord) -> str:
    """Return a request and its outcome: `put k3 by 0005, due at 8.02 s: 61.3 ms`."""
    latency = asked.latency
    took = "unanswered" if latency is None else f"{latency * 1000:,.1f} ms"
    tried = f", {counted(len(asked.attempts), 'attempt')}" if len(asked.attempts) > 1 else ""
    return (
        f"{asked.category} {asked.key} by {asked.client}, due at {asked.due:.2f} s: {took}{tried}"
    )


def _percentile_lines(ordered: list[float], up: Logarithmic) -> Iterator[str]:
    """Yield a line for each percentile, with its name at the beginning of the plot, the end that a
    phone shows of a wider picture."""
    above = float("inf")
    for share in (0.5, 0.95, 0.99):
        value = percentile(ordered, share)
        if value is None:
            return
        y = up.y(value)
        label = min(y - 4, above - 13)
        above = label
        yield line(LEFT, y, WIDTH - RIGHT, y, "percentile")
        yield text(LEFT + 6, label, f"p{share * 100:g}", "halo strong")


def _legend(y: float) -> Iterator[str]:
    for number, kind in enumerate(("get", "put")):
        x = LEFT + 70 * number
        yield dot(x + 4.0, y - 4, 4, kind)
        yield text(x + 14, y, f"{kind}()")
    yield text(LEFT + 144, y, "×", "lost middle")
    yield text(LEFT + 154, y, "unanswered")


def _duration(seconds: float) -> str:
    return f"{seconds:g} s" if seconds >= 1 else f"{seconds * 1000:g} ms"
