"""The cause of each mark of the timeline that isn't an event itself: the event, or why there is
none."""

from __future__ import annotations

from collections.abc import Iterator

from raftline_course.trial.record import Record
from raftline_course.trial.trial_messages import in_words

REACH_S = 3.0  # an election timeout, and the time to find the new leader
SLACK_S = 0.5  # by which a quorum may notice something before the trial does

Explained = tuple[float, float, str]


def explained(record: Record) -> list[Explained]:
    """Return (from, to, description and cause) of each standstill, each time without a known
    leader, and each takeover, in order."""
    return sorted([*_standstills(record), *_leaderless(record), *_takeovers(record)])


def _standstills(record: Record) -> Iterator[Explained]:
    for since, to in record.standstills():
        yield since, to, f"no answers: {_cause(record, since, to)}"


def _leaderless(record: Record) -> Iterator[Explained]:
    if record.leaders[1:] and record.leaders[1][0] > 0:
        yield 0.0, record.leaders[1][0], "no leader: the first election"
    for since, to in record.leaderless():
        yield since, to, f"no leader: {_cause(record, since, to)}"


def _takeovers(record: Record) -> Iterator[Explained]:
    for at, leader, old, silent_s in record.takeovers:
        won = "was elected anew" if leader == old else f"took over from {in_words(old)}"
        yield at, at, f"{in_words(leader)} {won}: {_cause(record, at - silent_s, at)}"


def _cause(record: Record, since: float, to: float) -> str:
    """Return the cause of a time: the latest event that may have led to it."""
    number = 0
    for place, event in enumerate(record.events, start=1):
        is_near = since - REACH_S <= event.at <= min(since + SLACK_S, to)
        if is_near or (_lasts(record, place - 1, since) and not number):
            number = place
    if any(begin < to and since < end for begin, end in record.stalls):
        return "this machine kept the simulator itself from working"
    if number:
        return f"after event {number}"
    if not record.leaders[1:] or since < record.leaders[1][0]:
        return "no leader was known yet"
    return "no event was near, so this machine or the network took long"


def _lasts(record: Record, place: int, at: float) -> bool:
    """Whether a partition or a loss that began before is still in force."""
    event = record.events[place]
    family = event.category.split()[0]
    if family not in ("part", "drop") or event.category.endswith("end") or event.at > at:
        return False
    later = record.events[place + 1 :]
    return not any(each.category.split()[0] == family and each.at <= at for each in later)
