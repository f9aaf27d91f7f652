"""The history of a schedule's clients, and whether one copy of the data explains it."""

from __future__ import annotations

from ..histories.history import ClientOperation, Increment, counter_findings
from ..histories.linearizable import HistoryVerdict, check
from .client_request import COUNTER, ClientRequest
from .journal import JOURNAL, Append, Journal, Seen

SEARCH_STEPS_MAX = 300_000


class History:
    """Operations on keys, for the search; increments of the counter, which are simply counted; and
    what was appended to the journal, which shows by itself what became of it."""

    def __init__(self) -> None:
        self.operations: list[ClientOperation] = []
        self.increments: list[Increment] = []
        self.journal = Journal()

    def __len__(self) -> int:
        return len(self.operations) + len(self.increments) + len(self.journal)

    def answered(self, request: ClientRequest, reply: str, now: int) -> None:
        """Keep a request and its reply."""
        if request.verb == "incr":
            self._increment(request, now, request.count(reply))
        elif request.verb == "append" and request.value is not None:
            size = request.length(reply)
            self.journal.appends.append(Append(request.called_at, now, request.value, size))
        elif request.key == JOURNAL:
            self.journal.seen.append(Seen(request.called_at, now, request.found(reply)))
        else:
            self.operations.append(request.operation(now, reply))

    def unknown(self, request: ClientRequest) -> None:
        """Keep a request that took effect, or did not, or will."""
        if request.verb == "incr":
            self._increment(request, None, None)
        elif request.verb == "append" and request.value is not None:
            self.journal.unknown.add(request.value)
        elif request.verb != "session" and request.key != JOURNAL:
            self.operations.append(request.operation(None))

    def _increment(
        self, request: ClientRequest, returned_at: int | None, value: int | None
    ) -> None:
        number = request.number or 0
        self.increments.append(
            Increment(
                request.client.name, number, request.key, request.called_at, returned_at, value
            )
        )

    def judge(self) -> int:
        """Return how long the search took.

        Raises:
            AssertionError: one copy of the data could not have given these answers.
        """
        report = check(self.operations, SEARCH_STEPS_MAX)
        if report.verdict is not HistoryVerdict.LINEARIZABLE:
            lines = "\n  ".join(report.excerpt)
            raise AssertionError(f"history of {report.key}: {report.verdict.value}\n  {lines}")
        return report.steps

    def judge_counter(self, final: int) -> None:
        """Each increment took effect once, in an order that its answers allow.

        Raises:
            AssertionError: two were answered alike, one overtook another, or one took effect
                twice or not at all.
        """
        findings = counter_findings(self.increments, {COUNTER: final})
        assert not findings, findings
