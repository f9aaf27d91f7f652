"""The report of a trial: the lines of the course's simulator, then what it had not; or JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence

from raftline.trial.record import Record, percentile
from raftline.trial.verdict import Verdict


def lines(record: Record, verdict: Verdict) -> list[str]:
    """Return the report; latencies are in seconds. The verdict stands at its end."""
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


def as_json(record: Record, verdict: Verdict) -> str:
    """Return the report as one line of JSON. Times and latencies are in seconds."""
    told = {
        "leaders": [{"at": at, "leader": leader} for at, leader in record.leaders],
        **_counters(record),
        "latency": _latency(record),
        "without_leader": record.leaderless(),
        "without_answers": record.standstills(),
        "stalls": record.stalls,
        "events": [{"at": at, "text": text} for at, text in sorted(_told(record))],
        "safety": "broken" if verdict.unsafe else "not decided" if verdict.undecided else "kept",
        "service": "broken" if verdict.broken else "kept",
        "verdict": verdict.lines(),
    }
    return json.dumps(told)


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
    """Return what is known of the latencies; None where nothing was answered."""
    ordered = record.latencies()
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "longest": 1.0}
    return {
        "mean": statistics.fmean(ordered) if ordered else None,
        "median": statistics.median(ordered) if ordered else None,
        **{name: percentile(ordered, share) for name, share in shares.items()},
    }


def more_lines(record: Record) -> list[str]:
    """Return what the course program's report lacks."""
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
    return [*found, *(f"{at:7.2f} s  {text}" for at, text in sorted(_told(record)))]


def _told(record: Record) -> Iterator[tuple[float, str]]:
    """Yield what happened, and when."""
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
