"""The report of a trial: lines of text, JSON, or a page of HTML.

The text has the lines of the course simulator, and then additional ones. The page needs no other
files, and has a light and a dark theme.
"""

from __future__ import annotations

import html
import json
import re
import statistics
from collections.abc import Iterator, Sequence

from raftline_course.trial import causes, pictures
from raftline_course.trial.record import Record, counted, percentile
from raftline_course.trial.verdict import Exit, TrialVerdict

_STYLE = """
:root { color-scheme: light dark; --paper: #fcfcfa; --ink: #1d2025; --soft: #5c626c;
  --grid: #e3e4e6; --card: #f1f1ee; --good: #1a7f4b; --bad: #c02c2c; --warn: #9a6400;
  --get: #1f6fb5; --put: #c4570f; --c0: #3b7dd8; --c1: #d9822b; --c2: #2b9e77; --c3: #b0559e;
  --c4: #8a7a1f; --c5: #5b5bd6; }
@media (prefers-color-scheme: dark) { :root { --paper: #15171b; --ink: #e8e8e6; --soft: #a3a9b3;
  --grid: #2c3037; --card: #1f2228; --good: #4cc38a; --bad: #ff6b6b; --warn: #e0a83a;
  --get: #69b1f0; --put: #f29a57; --c0: #6aa3ef; --c1: #efa35a; --c2: #53c79d; --c3: #d887c8;
  --c4: #c8b753; --c5: #9494f5; } }
body { background: var(--paper); color: var(--ink); margin: 0 auto; padding: 2rem 1rem;
  max-width: 64rem; font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.under, caption { color: var(--soft); } .under { margin: 0 0 1rem; }
.verdict { border-left: 5px solid; padding: .5rem 1rem; background: var(--card);
  white-space: pre-wrap; overflow-wrap: anywhere; }
.good { border-color: var(--good); } .warn { border-color: var(--warn); }
.bad { border-color: var(--bad); }
.figures { display: flex; flex-wrap: wrap; gap: .5rem 2rem; margin: 1rem 0; padding: 0; }
.figures div { min-width: 6rem; } .figures dt { color: var(--soft); font-size: .85rem; }
.figures dd { margin: 0; font-size: 1.25rem; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; } svg { display: block; width: 100%; min-width: 44rem; height: auto; }
pre { background: var(--card); padding: 1rem; overflow-x: auto; font-size: .85rem; }
ol { padding-left: 2.25rem; } .at { color: var(--soft); font-variant-numeric: tabular-nums; }
text { font: 12px system-ui, sans-serif; fill: var(--ink); } .label { fill: var(--soft); }
.inside, .strong { fill: var(--ink); } .strong { font-weight: 600; }
.middle { text-anchor: middle; }
.halo { paint-order: stroke; stroke: var(--paper); stroke-width: 4px; stroke-linejoin: round; }
a { color: inherit; } h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
.end { text-anchor: end; } .grid { stroke: var(--grid); }
.event { stroke: var(--soft); stroke-dasharray: 3 3; }
.percentile { stroke: var(--soft); stroke-dasharray: 6 3; }
.lost { fill: var(--bad); font-weight: 700; }
rect { fill-opacity: .4; stroke-width: 1; } .get { fill: var(--get); } .put { fill: var(--put); }
circle { fill-opacity: .65; }
.none { fill: var(--bad); fill-opacity: .15; stroke: var(--bad); stroke-dasharray: 3 2; }
.up { fill: var(--soft); fill-opacity: .16; } .failed, .crashed { fill: var(--bad); }
.paused, .part, .drop { fill: var(--warn); }
"""
_COLOURS = "\n".join(
    f".colour{number} {{ fill: var(--c{number}); stroke: var(--c{number}); }}"
    for number in range(pictures.COLOURS)
)
_EVENT, _LINK = re.compile(r"\bevent ([0-9]+)$"), r'<a href="#event-\1">event \1</a>'
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>raftline simulate: {title}</title>
<style>{style}</style>
</head>
<body>
<h1>raftline simulate: {title}</h1>
<p class="under">{under}</p>
<div class="verdict {mood}">{verdict}</div>
<dl class="figures">{figures}</dl>
<h2>Leaders, faults and standstills</h2>
<div class="wide" tabindex="0">{timeline}</div>
<p class="under">Red and dashed: no leader is known. No answers: requests wait and none is answered.
Under the mouse each bar tells its times.{numbered}</p>
<ol>{events}</ol>
{explained}<h2>Latency of each request</h2>
<div class="wide" tabindex="0">{latencies}</div>
<p class="under">Counted from when a request was due. The scale is logarithmic; dashed are the
percentiles. Under the mouse a dot tells what it was{telling}.</p>
<h2>The report</h2>
<pre>{report}</pre>
{lines}</body>
</html>
"""


def lines(record: Record, verdict: TrialVerdict) -> list[str]:
    """Return the report; latencies are in seconds. The verdict is at its end."""
    return [*seed_lines(record), "", *more_lines(record), "", *verdict.lines()]


def seed_lines(record: Record) -> list[str]:
    """Return the lines of the course program's report, in its words and its order."""
    counted = [f"{name}: {number}" for name, number in _counters(record).items()]
    leaders = str([leader for _, leader in record.leaders])
    latency = _latency(record)
    return [
        "Leaders:",
        leaders,
        *counted,
        f"Mean request/response latency: {_figure(latency['mean'])}",
        f"Median request/response latency: {_figure(latency['median'])}",
    ]


def as_json(record: Record, verdict: TrialVerdict) -> str:
    """Return the report as one line of JSON. Times and latencies are in seconds."""
    fields = {
        "leaders": [{"at": at, "leader": leader} for at, leader in record.leaders],
        **_counters(record),
        "latency": _latency(record),
        "without_leader": record.leaderless(),
        "without_answers": record.standstills(),
        "stalls": record.stalls,
        "events": [{"at": at, "text": text} for at, text in sorted(_timeline(record))],
        "safety": "broken" if verdict.unsafe else "not decided" if verdict.undecided else "kept",
        "service": "broken" if verdict.broken else "kept",
        "verdict": verdict.lines(),
    }
    return json.dumps(fields)


def _counters(record: Record) -> dict[str, int]:
    """Return the course program's counters under its own names."""
    gets, puts, tally = record.of("get"), record.of("put"), record.tally
    return {
        "Servers that crashed during execution": len(record.crashed),
        "Servers that were failed by simulator": record.failed,
        "Total messages sent": record.messages,
        "Total client get() requests": len(gets),
        "Total client put() requests": len(puts),
        "Total duplicate responses": tally.duplicates,
        "Total unanswered get() requests": record.unanswered("get"),
        "Total unanswered put() requests": record.unanswered("put"),
        "Total number of messages are redirected to leader by followers": tally.redirects,
        "Total get() failure": sum(each.outcome in ("failure", "absent") for each in gets),
        "Total put() failures": sum(each.outcome == "failure" for each in puts),
        "Total get() with wrong get response": sum(each.wrong for each in gets),
    }


def _latency(record: Record) -> dict[str, float | None]:
    """Return the figures of the latencies; None without any answer."""
    ordered = record.latencies()
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "longest": 1.0}
    return {
        "mean": statistics.fmean(ordered) if ordered else None,
        "median": statistics.median(ordered) if ordered else None,
        **{name: percentile(ordered, share) for name, share in shares.items()},
    }


def more_lines(record: Record) -> list[str]:
    """Return the lines that the course program's report lacks."""
    latency = _latency(record)
    names = ("p50", "p95", "p99", "longest")
    shares = ", ".join(f"{name} {_figure(latency[name])}" for name in names)
    again = sum(len(each.attempts) > 1 for each in record.requests)
    found = [
        f"Latency percentiles: {shares}",
        f"Requests sent more than once, under the same Message-ID: {again}",
        f"Messages rejected as incomplete or invalid: {record.tally.rejected}",
        f"Gets that found no key yet and became puts (prior_get_req): {record.prior_get_requests}",
        f"Messages between servers: {record.server_messages}, lost: {record.lost_messages}",
        f"Votes asked for (PreVote, RequestVote): {record.vote_requests}",
        f"Time without a known leader, once there was one: {_spent(record.leaderless())}",
        f"Time in which requests waited and none was answered ({record.standstill_s:.2f} s and more"
        f" each): {_spent(record.standstills())}",
    ]
    if record.stalls:
        stalled = sum(to - since for since, to in record.stalls)
        found.append(
            f"Note: this machine kept the simulator itself from working for {stalled:.2f} s;"
            " times are the machine's then, not the cluster's"
        )
    if record.heartbeat_gaps:
        gaps = sorted(record.heartbeat_gaps)
        found.append(
            f"Gaps between a leader's messages to a follower: median {statistics.median(gaps):.3f}"
            f" s, p99 {percentile(gaps, 0.99) or 0.0:.3f} s, longest {gaps[-1]:.3f} s"
        )
    return [*found, *(f"{at:7.2f} s  {text}" for at, text in sorted(_timeline(record)))]


def _timeline(record: Record) -> Iterator[tuple[float, str]]:
    """Yield the events with their times."""
    for event in record.events:
        yield event.at, event.text
    for at, leader in record.leaders:
        yield at, f"{leader} leads" if leader.isdigit() else "no leader is known"
    for at, leader, old, silent_s in record.takeovers:
        won = "was elected anew" if leader == old else f"took over from {old}"
        yield at, f"{leader} {won}, after {silent_s:.2f} s in which no quorum had heard of {old}"


def _figure(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.6f}"


def _spent(spans: Sequence[tuple[float, float]]) -> str:
    lengths = [to - since for since, to in spans]
    return f"{sum(lengths):.2f} s, longest {max(lengths, default=0.0):.2f} s"


def page(record: Record, verdict: TrialVerdict) -> str:
    """Return the page. It loads nothing, and has no script."""
    metrics = record.metrics
    title, mood = _headline(verdict)
    return _PAGE.format(
        title=title,
        mood=mood,
        style=_STYLE + _COLOURS,
        under=f"{metrics.servers} servers, {counted(metrics.number_of_clients, 'client')},"
        f" {counted(len(record.requests), 'request')} in {record.ended:.0f} s,"
        f" seed {metrics.seed}",
        numbered=" The numbers are those of this list:" if record.events else "",
        telling="" if len(record.requests) <= pictures.TELLING_MAX else ", if it was a slow one",
        verdict=html.escape("\n".join(verdict.lines())),
        figures=_figures(record, verdict),
        timeline=pictures.timeline(record),
        events=_events(record),
        explained=_explained(record),
        lines=_lines(record),
        latencies=pictures.latencies(record),
        report=html.escape("\n".join(lines(record, verdict))),
    )


def _events(record: Record) -> str:
    """Return the numbered list; each event links to the console lines after it."""
    items = []
    for number, event in enumerate(record.events, start=1):
        link = f' <a href="#lines-{number}">its lines</a>' if number <= len(record.lines) else ""
        at = f'<span class="at">{event.at:.2f} s</span>'
        items.append(f'<li id="event-{number}">{at} {html.escape(event.text)}{link}</li>')
    return "".join(items)


def _explained(record: Record) -> str:
    """Return the list of marks that aren't actions, each with the event that caused it."""
    items = "".join(
        f'<li><span class="at">{since:.2f} s to {to:.2f} s</span>'
        f" {_EVENT.sub(_LINK, html.escape(text))}</li>"
        for since, to, text in causes.explained(record)
    )
    return (
        f'<p class="under">What followed from them, or had no event:</p><ul>{items}</ul>\n'
        if items
        else ""
    )


def _lines(record: Record) -> str:
    """Return the console lines after each event, up to the next one."""
    parts = []
    for number, (event, lines) in enumerate(zip(record.events, record.lines, strict=False), 1):
        shown = html.escape("\n".join(lines) or "no server printed anything")
        back = f'<a href="#event-{number}">event {number}</a>'
        head = f'<h3 id="lines-{number}">Behind {back}: {html.escape(event.text)}</h3>'
        parts.append(f"{head}<pre>{shown}</pre>")
    return "<h2>The lines of each event</h2>\n" + "\n".join(parts) + "\n" if parts else ""


def _headline(verdict: TrialVerdict) -> tuple[str, str]:
    match verdict.exit_status:
        case Exit.UNSAFE:
            return "an answer was wrong", "bad"
        case Exit.UNDECIDED:
            return "not decided", "warn"
        case Exit.SERVICE_BROKEN:
            return "safe, and too little service", "warn"
    return ("no errors" if verdict.is_perfect else "within the limits", "good")


def _figures(record: Record, verdict: TrialVerdict) -> str:
    ordered = record.latencies()
    stood = sum(to - since for since, to in record.standstills())
    facts = [("answered", f"{verdict.answered:,} of {verdict.asked:,}")]
    for share in (0.5, 0.95, 0.99):
        value = percentile(ordered, share)
        facts.append((f"p{share * 100:g}", "-" if value is None else f"{value * 1000:,.1f} ms"))
    facts.append(("without answers", f"{stood:.2f} s"))
    return "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
