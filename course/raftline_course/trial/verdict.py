"""The judgement on a trial, with two questions: was any answer wrong, and did any request wait too
long?

Safety has no limits: one wrong answer breaks it. Service is measured against limits, and a trial
within them is not necessarily perfect. A trial that the course's simulator called perfect left
190 of 3,367 requests without an answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from raftline.tools.local_cluster.local_cluster import how_it_ended
from raftline_course.trial.record import Record, counted, operations
from raftline_course.trial.servers import BROKEN_INVARIANT
from raftline_testing.histories import linearizable

PERFECT = "No errors, everything is working perfectly:)"
STEPS_MAX = 2_000_000


class Exit(IntEnum):
    """The exit status of `raftline simulate`."""

    GOOD = 0
    SERVICE_BROKEN = 1
    USAGE = 2
    UNSAFE = 3
    UNDECIDED = 4  # the check of the history gave up


@dataclass
class TrialVerdict:
    """The faults of the answers, the faults of the service, and the imperfections."""

    unsafe: list[str] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    blemishes: list[str] = field(default_factory=list)  # within the limits
    not_done: list[str] = field(default_factory=list)  # actions that had no opportunity
    answered: int = 0
    asked: int = 0

    @property
    def exit_status(self) -> Exit:
        if self.unsafe:
            return Exit.UNSAFE
        if self.undecided:
            return Exit.UNDECIDED
        return Exit.SERVICE_BROKEN if self.broken else Exit.GOOD

    @property
    def is_perfect(self) -> bool:
        return self.exit_status is Exit.GOOD and not (self.blemishes or self.not_done)

    def lines(self) -> list[str]:
        """Return the verdict for a person; its last line is the course's, only if it is true."""
        lines = [f"Safety: BROKEN: {each}" for each in self.unsafe]
        lines += [f"Safety: not decided: {each}" for each in self.undecided]
        if not lines:
            lines = ["Safety: kept: the history is linearizable, and no term had two leaders"]
        lines += [f"Service: BROKEN: {each}" for each in self.broken]
        if not self.broken:
            lines.append(f"Service: kept: {self.answered:,} of {self.asked:,} requests answered")
        if self.not_done:
            lines.append(f"Not done, since no occasion came: {', '.join(self.not_done)}")
        if self.blemishes and self.exit_status is Exit.GOOD:
            lines.append(f"Within the limits, but not perfect: {'; '.join(self.blemishes)}")
        return [*lines, PERFECT] if self.is_perfect else lines


def judge(record: Record) -> TrialVerdict:
    """Return the verdict on a trial."""
    verdict = TrialVerdict(asked=len(record.requests))
    verdict.answered = verdict.asked - record.unanswered()
    _judge_safety(record, verdict)
    verdict.broken += _broken_limits(record)
    verdict.blemishes += _blemishes(record)
    verdict.not_done += record.not_done
    return verdict


def _judge_safety(record: Record, verdict: TrialVerdict) -> None:
    wrong = sum(request.wrong for request in record.requests)
    if wrong:
        verdict.unsafe.append(f"{counted(wrong, 'get')} read an impossible value")
    if record.two_leaders:
        verdict.unsafe.append(record.two_leaders)
    for server, code in record.crashed:
        if code == BROKEN_INVARIANT:
            verdict.unsafe.append(f"{server} stopped because an invariant of its own broke")
    report = linearizable.check(operations(record.requests), STEPS_MAX)
    if report.verdict is linearizable.HistoryVerdict.VIOLATED:
        excerpt = "".join(f"\n    {line}" for line in report.excerpt)
        verdict.unsafe.append(f"the history is not linearizable, see key {report.key}:{excerpt}")
    elif report.verdict is linearizable.HistoryVerdict.GAVE_UP:
        verdict.undecided.append(f"the check gave up after {report.steps:,} steps")


def _broken_limits(record: Record) -> Iterator[str]:
    metrics, count = record.metrics, len(record.requests)
    if record.broken_off:
        yield f"broken off after {record.ended:.1f} s: {record.broken_off}"
    if len(record.leaders) == 1:
        yield "no state: there was never a leader, so nothing was stored"
    if record.crashed:
        yield f"{counted(len(record.crashed), 'server')} crashed: " + ", ".join(
            f"{server} ({how_it_ended(code)})" for server, code in record.crashed
        )
    yield from _unanswered_beyond(record, metrics.maximum_unanswered_fraction, None)
    yield from _unanswered_beyond(record, metrics.maximum_get_reqs_fraction, "get")
    yield from _unanswered_beyond(record, metrics.maximum_put_reqs_fraction, "put")
    gets = len(record.of("get")) + record.prior_get_requests
    if record.prior_get_requests > metrics.maximum_get_create_fail_fraction * gets:
        yield (
            f"too few gets: {record.prior_get_requests:,} of {gets:,} found no key to get (limit"
            f" {metrics.maximum_get_create_fail_fraction:.2%}): no put of their client was"
            " confirmed by then"
        )
    refused = sum(each.outcome == "failure" for each in record.requests)
    if refused > metrics.maximum_unanswered_fraction * count:
        yield f"{counted(refused, 'request')} of {count:,} refused"
    confirmed = sum(each.outcome == "success" for each in record.of("put"))
    least = metrics.appends_batched_fraction * confirmed * (metrics.servers - 1)
    if record.server_messages < least:
        yield (
            f"too few messages: {record.server_messages:,} between servers, where {confirmed:,}"
            f" confirmed puts need {least:,.0f} (appends batched fraction)"
        )


def _unanswered_beyond(record: Record, limit: float, category: str | None) -> Iterator[str]:
    requests = record.of(category) if category else record.requests
    unanswered = record.unanswered(category)
    if unanswered > limit * len(requests):
        what = f"{category}() requests" if category else "requests"
        yield (
            f"{unanswered:,} of {len(requests):,} {what} unanswered"
            f" ({unanswered / len(requests):.1%}, limit {limit:.2%})"
        )


def _blemishes(record: Record) -> Iterator[str]:
    if not record.requests:
        yield "nothing was asked"
    unanswered = record.unanswered()
    if unanswered:
        yield f"{counted(unanswered, 'request')} unanswered"
    failures = sum(each.outcome in ("failure", "absent") for each in record.requests)
    if failures:
        yield f"{counted(failures, 'request')} answered with a failure"
    if record.tally.rejected:
        yield f"{counted(record.tally.rejected, 'invalid message')} rejected"
