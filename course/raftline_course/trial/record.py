"""The record of a trial: each request, each event, and the counters."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from raftline_course.trial.metrics_dictionary import Metrics
from raftline_course.trial.servers import Health
from raftline_course.trial.store_client import ServerAttempt, Tally
from raftline_course.trial.trial_messages import UNKNOWN_LEADER
from raftline_testing.histories.history import ClientOperation


@dataclass
class RequestRecord:
    """One request of one client. Times are in seconds since the start of the trial.

    `latency` counts from when the request was due, not from when its client sent it.
    """

    client: str
    category: str  # put or get
    message_id: int
    key: str
    value: str | None  # the value of a put, or the one that a get read
    due: float
    called: float | None = None  # None: its client never sent it
    returned: float | None = None  # None: unanswered
    outcome: str = "unanswered"  # success, failure, absent or unanswered
    attempts: Sequence[ServerAttempt] = ()
    wrong: bool = False  # a get that read an impossible value

    @property
    def latency(self) -> float | None:
        return None if self.returned is None else self.returned - self.due

    def as_json(self) -> str:
        """Return the request as one line of the history."""
        fields = {
            "client": self.client, "req_category": self.category, "Message-ID": self.message_id,
            "key": self.key, "value": self.value, "due": _rounded(self.due),
            "called": _rounded(self.called), "returned": _rounded(self.returned),
            "outcome": self.outcome, "wrong": self.wrong,
            "attempts": [
                {"server": server, "answer": category, "seconds": _rounded(seconds)}
                for server, category, seconds in self.attempts
            ],
        }  # fmt: skip
        return json.dumps(fields)


@dataclass(frozen=True)
class TrialEvent:
    """An event: an action on the servers, or a change of their state."""

    at: float
    category: str  # an action's, or `resume`, `crash`, `drop end`, `transfer`
    servers: tuple[str, ...]
    text: str


@dataclass
class Record:
    """The record of a trial. Times are in seconds since its start."""

    metrics: Metrics
    servers: tuple[str, ...]
    ended: float = 0.0
    requests: list[RequestRecord] = field(default_factory=list)
    leaders: list[tuple[float, str]] = field(default_factory=list)
    events: list[TrialEvent] = field(default_factory=list)
    lines: list[list[str]] = field(default_factory=list)  # console lines after each event
    # start, leader and term of each leadership
    terms: list[tuple[float, str, int]] = field(default_factory=list)
    # each change of a server's health
    health: list[tuple[float, str, Health]] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    prior_get_requests: int = 0  # gets without a stored key, which became puts
    server_messages: int = 0
    lost_messages: int = 0
    heartbeat_gaps: list[float] = field(default_factory=list)
    crashed: list[tuple[str, int]] = field(default_factory=list)  # (server, exit status)
    failed: int = 0
    not_done: list[str] = field(default_factory=list)  # actions that had no opportunity
    vote_requests: int = 0
    # pauses of the simulator itself
    stalls: list[tuple[float, float]] = field(default_factory=list)
    takeovers: list[tuple[float, str, str, float]] = field(default_factory=list)  # see Watch
    two_leaders: str = ""
    broken_off: str = ""  # why it ended early

    @property
    def messages(self) -> int:
        """All messages: between servers, from clients to servers, and the answers."""
        return self.server_messages + self.tally.sent + self.tally.received

    def of(self, category: str) -> list[RequestRecord]:
        return [request for request in self.requests if request.category == category]

    def unanswered(self, category: str | None = None) -> int:
        return sum(
            request.outcome == "unanswered" and category in (None, request.category)
            for request in self.requests
        )

    def latencies(self) -> list[float]:
        """Return the latencies of all answered requests, the shortest first."""
        return sorted(request.latency for request in self.requests if request.latency is not None)

    def standstills(self) -> list[tuple[float, float]]:
        """Return the times in which requests waited and none was answered, for at least
        `standstill_s`."""
        return standstills(self.requests, self.ended, self.standstill_s)

    @property
    def standstill_s(self) -> float:
        """The shortest time without answers that is reported: about the length of an election here,
        and longer if single answers take long."""
        usual = percentile(self.latencies(), 0.5) or 0.0
        return min(max(0.05, 10 * usual), 0.5)

    def leaderless(self) -> list[tuple[float, float]]:
        """Return (from, to) of each time without a known leader, after the first leader."""
        ends = [*(at for at, _ in self.leaders), self.ended][1:]
        spans = [
            (at, to)
            for (at, who), to in zip(self.leaders, ends, strict=True)
            if who == UNKNOWN_LEADER
        ]
        return spans[self.leaders[:1] == [(0.0, UNKNOWN_LEADER)] :]


def standstills(
    requests: Sequence[RequestRecord], end: float, least_s: float = 0.05
) -> list[tuple[float, float]]:
    """Return (from, to) of each period in which requests waited and none was answered."""
    marks = [(request.due, 1) for request in requests if request.due < end]
    marks += [(request.returned, -1) for request in requests if request.returned is not None]
    gaps, waiting, since = [], 0, 0.0
    for at, step in [*sorted(marks), (end, -1)]:
        if step < 0:
            if waiting and at - since >= least_s:
                gaps.append((since, at))
            since = at
        elif not waiting:
            since = at
        waiting += step
    return gaps


def operations(requests: Sequence[RequestRecord]) -> Iterator[ClientOperation]:
    """Yield the operations for a check of linearizability, without those that certainly had no
    effect."""
    for request in requests:
        if request.called is None or request.outcome == "failure":
            continue
        returned = None if request.outcome == "unanswered" else request.returned
        verb = "set" if request.category == "put" else "get"
        key, value = request.key, request.value
        yield ClientOperation(request.client, verb, key, value, request.called, returned)  # type: ignore[arg-type]


def counted(number: int, what: str) -> str:
    """Return `1 request`, `2 requests`."""
    return f"{number:,} {what}{'s' * (number != 1)}"


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """Return the value that this share of an ordered list doesn't exceed; None for no values."""
    if not ordered:
        return None
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
