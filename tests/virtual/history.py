"""What all clients of a schedule saw, and whether it could have come from one copy of the data."""

from __future__ import annotations

from typing import NamedTuple

from raftline.trial.linearizable import Operation, Verdict, check
from tests.virtual.asked import Request
from tests.virtual.journal import JOURNAL, Append, Journal, Seen

SEARCH_STEPS_MAX = 300_000


class Count(NamedTuple):
    """One incr that was answered: when it was asked first, when answered, and with what."""

    called_at: int
    returned_at: int
    value: int


class History:
    """Operations on keys, for the search; increments of the counter, which are simply counted; and
    what was appended to the journal, which shows by itself what became of it."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.counts: list[Count] = []
        self.journal = Journal()
        self.unknown_counts = 0  # increments that took effect once or never

    def __len__(self) -> int:
        return (
            len(self.operations) + len(self.counts) + self.unknown_counts + len(self.journal)
        )

    def answered(self, request: Request, reply: str, now: int) -> None:
        """Keep a request and its reply."""
        if request.verb == "incr":
            self.counts.append(Count(request.called_at, now, request.count(reply)))
        elif request.verb == "append" and request.value is not None:
            size = request.length(reply)
            self.journal.appends.append(Append(request.called_at, now, request.value, size))
        elif request.key == JOURNAL:
            self.journal.seen.append(Seen(request.called_at, now, request.found(reply)))
        else:
            self.operations.append(request.operation(now, reply))

    def unknown(self, request: Request) -> None:
        """Keep a request that took effect, or did not, or will."""
        if request.verb == "incr":
            self.unknown_counts += 1
        elif request.verb == "append" and request.value is not None:
            self.journal.unknown.add(request.value)
        elif request.verb != "session" and request.key != JOURNAL:
            self.operations.append(request.operation(None))

    def judge(self) -> int:
        """Return how long the search took.

        Raises:
            AssertionError: one copy of the data could not have given these answers.
        """
        report = check(self.operations, SEARCH_STEPS_MAX)
        if report.verdict is not Verdict.LINEARIZABLE:
            lines = "\n  ".join(report.excerpt)
            raise AssertionError(f"history of {report.key}: {report.verdict.value}\n  {lines}")
        return report.steps

    def judge_counter(self, final: int) -> None:
        """Each increment took effect once, in an order that its answers allow.

        Raises:
            AssertionError: two were answered alike, one overtook another, or one took effect
                twice or not at all.
        """
        values = [count.value for count in self.counts]
        if len(set(values)) != len(values):
            raise AssertionError(f"two increments gave the same number: {sorted(values)}")
        if not len(values) <= final <= len(values) + self.unknown_counts:
            raise AssertionError(
                f"the counter is {final} after {len(values)} increments that were answered and "
                f"{self.unknown_counts} of unknown outcome"
            )
        by_end = sorted(self.counts, key=lambda count: count.returned_at)
        position, highest = 0, 0
        for count in sorted(self.counts):
            while position < len(by_end) and by_end[position].returned_at < count.called_at:
                highest = max(highest, by_end[position].value)
                position += 1
            if count.value <= highest:
                raise AssertionError(
                    f"an increment gave {count.value} though {highest} was answered before it"
                )
