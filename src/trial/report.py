"""The report of a trial as text: the lines of the course's simulator, then what it had not."""

from __future__ import annotations

import statistics

from raftline.trial.record import Record, percentile
from raftline.trial.verdict import Verdict


def lines(record: Record, verdict: Verdict) -> list[str]:
    """Return the report; latencies are in seconds. The verdict stands at its end."""
    return [*seed_lines(record), "", *more_lines(record), "", *verdict.lines()]


def seed_lines(record: Record) -> list[str]:
    """Return the lines of the seed's report, in its words and its order."""
    gets, puts, tally = record.of("get"), record.of("put"), record.tally
    latencies = record.latencies()
    return [
        "Leaders:",
        str([leader for _, leader in record.leaders]),
        f"Servers that crashed during execution: {len(record.crashed)}",
        f"Servers that were failed by simulator: {record.failed}",
        f"Total messages sent: {record.messages}",
        f"Total client get() requests: {len(gets)}",
        f"Total client put() requests: {len(puts)}",
        f"Total duplicate responses: {tally.duplicates}",
        f"Total unanswered get() requests: {record.unanswered('get')}",
        f"Total unanswered put() requests: {record.unanswered('put')}",
        f"Total number of messages are redirected to leader by followers: {tally.redirects}",
        f"Total get() failure: {sum(each.outcome in ('failure', 'absent') for each in gets)}",
        f"Total put() failures: {sum(each.outcome == 'failure' for each in puts)}",
        f"Total get() with wrong get response: {sum(each.wrong for each in gets)}",
        f"Mean request/response latency: {_figure(statistics.fmean(latencies or [0.0]))}",
        f"Median request/response latency: {_figure(statistics.median(latencies or [0.0]))}",
    ]


def more_lines(record: Record) -> list[str]:
    """Return what the seed's report lacks."""
    latencies, standstills = record.latencies(), record.standstills()
    shares = ", ".join(
        f"p{share * 100:g} {_figure(percentile(latencies, share) or 0.0)}"
        for share in (0.5, 0.95, 0.99)
    )
    again = sum(len(each.attempts) > 1 for each in record.requests)
    stood = sum(to - since for since, to in standstills)
    longest = max((to - since for since, to in standstills), default=0.0)
    found = [
        f"Latency percentiles: {shares}, longest {_figure(latencies[-1] if latencies else 0.0)}",
        f"Requests sent more than once, under the same Message-ID: {again}",
        f"Messages rejected as incomplete or invalid: {record.tally.rejected}",
        f"Gets that found no key yet and became puts (prior_get_req): {record.prior_get_requests}",
        f"Messages between servers: {record.server_messages}, lost: {record.lost_messages}",
        f"Votes asked for (PreVote, RequestVote): {record.vote_requests}",
        f"Time in which requests waited and none was answered: {stood:.2f} s,"
        f" longest {longest:.2f} s",
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
    told = [(event.at, event.text) for event in record.events]
    told += [
        (at, f"{leader} leads" if leader.isdigit() else "no leader is known")
        for at, leader in record.leaders
    ]
    return [*found, *(f"{at:7.2f} s  {text}" for at, text in sorted(told))]


def _figure(seconds: float) -> str:
    return f"{seconds:.6f}"
