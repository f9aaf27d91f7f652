"""The history of clients, and whether one copy of the data explains it."""

from __future__ import annotations

from ..histories.history import Change, ClientOperation, Increment, counter_findings
from ..histories.linearizable import HistoryVerdict, check
from .client_request import COUNTER, ClientRequest
from .journal import JOURNAL, Append, Journal, Seen

SEARCH_STEPS_MAX = 300_000


class History:
    """Operations on keys, for the search; increments of the counter, which are counted; and appends
    to the journal, whose text shows their outcomes."""

    def __init__(self, journal: str = JOURNAL) -> None:
        """Create an empty history; `journal` is the key of the appends."""
        self._journal_key = journal
        self.operations: list[ClientOperation] = []
        self.increments: list[Increment] = []
        self.journal = Journal()

    def __len__(self) -> int:
        return len(self.operations) + len(self.increments) + len(self.journal)

    @property
    def changes(self) -> list[Change]:
        """Every change that an answer shows, or that has an unknown outcome."""
        journal = self.journal
        appended = [*[one.called_at for one in journal.appends], *journal.unknown.values()]
        return [
            *[Change(self._journal_key, "set", called_at) for called_at in appended],
            *[Change(one.key, "set", one.called_at) for one in self.increments],
            *[
                Change(one.key, "del" if one.verb == "delete" else "set", one.called_at)
                for one in self.operations
                if not one.is_idle
            ],
        ]

    def answered(self, request: ClientRequest, reply: str, now: float) -> None:
        """Record a request and its reply."""
        if request.verb == "incr":
            self._increment(request, now, request.count(reply))
        elif request.verb == "append" and request.value is not None:
            size = request.length(reply)
            self.journal.appends.append(Append(request.called_at, now, request.value, size))
        elif request.key == self._journal_key:
            self.journal.seen.append(Seen(request.called_at, now, request.found(reply)))
        else:
            self.operations.append(request.operation(now, reply))

    def unknown(self, request: ClientRequest) -> None:
        """Record a request with an unknown outcome, which may yet take effect."""
        if request.verb == "incr":
            self._increment(request, None, None)
        elif request.verb == "append" and request.value is not None:
            self.journal.unknown[request.value] = request.called_at
        elif request.verb != "session" and request.key != self._journal_key:
            self.operations.append(request.operation(None))

    def _increment(
        self, request: ClientRequest, returned_at: float | None, value: int | None
    ) -> None:
        number = request.number or 0
        self.increments.append(
            Increment(
                request.client.name, number, request.key, request.called_at, returned_at, value
            )
        )

    def judge(self) -> int:
        """Judge the history; return the time of the search.

        Raises:
            AssertionError: no single copy of the data explains these answers.
        """
        report = check(self.operations, SEARCH_STEPS_MAX)
        if report.verdict is not HistoryVerdict.LINEARIZABLE:
            lines = "\n  ".join(report.excerpt)
            raise AssertionError(f"history of {report.key}: {report.verdict.value}\n  {lines}")
        return report.steps

    def judge_counter(self, final: int) -> None:
        """Check that each increment took effect once, in an order that the answers allow.

        Raises:
            AssertionError: two had the same answer, one overtook another, or one took effect twice
                or not at all.
        """
        findings = counter_findings(self.increments, {COUNTER: final})
        assert not findings, findings
