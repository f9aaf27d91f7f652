"""The judge of watchers: it merges all events sent to them, and compares each watcher with the
result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass, field

from raftline.state.key_events import BareEvent

from ..workloads.watcher_machine import WatchReport

LAST = "end"  # the value of the final write that each watcher waits for


@dataclass(frozen=True)
class SentEvent:
    """An event as it was sent to a watcher."""

    number: int
    kind: str
    key: str
    value: str = ""


@dataclass
class Stretch:
    """The events of a watch from one beginning, without a gap, over one or more connections."""

    begin: int  # the entry of the initial keys, or the entry after which it resumed
    keys: dict[str, str] | None  # the initial keys, or None if it resumed
    sent: list[SentEvent] = field(default_factory=list)
    upto: int = 0  # the last entry known to be sent in full


@dataclass
class Stream(WatchReport):
    """All events sent to one watcher."""

    prefix: str
    stretches: list[Stretch] = field(default_factory=list)
    moves: Counter[str] = field(default_factory=Counter)

    def listed(self, number: int, keys: dict[str, str]) -> None:
        self.moves["begun"] += 1
        self.stretches.append(Stretch(number, keys, upto=number))

    def resumed(self, number: int) -> None:
        """Forget the events after this entry, which are sent again."""
        self.moves["gone on"] += 1
        last = self.stretches[-1]
        last.sent = [one for one in last.sent if one.number <= number]
        last.upto = number

    def got(self, event: BareEvent) -> None:
        self.stretches[-1].sent.append(SentEvent(*event))
        self.passed(event[0])

    def passed(self, number: int) -> None:
        self.stretches[-1].upto = max(self.stretches[-1].upto, number)

    def ended(self, why: str) -> None:
        self.moves["begun anew" if " begins anew " in why else why[:30]] += 1


def judge(streams: Sequence[Stream], acknowledged: Sequence[Sequence[SentEvent]]) -> list[str]:
    """Return the findings; none if each watcher was sent each event once, in order.

    `acknowledged` holds the writes of each writer in order, with number 0. All except the LAST ones
    were acknowledged before the final entry that each watcher waited for. A write that was sent to
    no watcher is wrong if a watcher was sent the events on both sides of it: the others may all
    have started again.
    """
    truth: dict[int, SentEvent] = {}
    wrong: list[str] = []
    for stream in streams:
        for stretch in stream.stretches:
            for one in stretch.sent:
                if truth.setdefault(one.number, one) != one:
                    wrong.append(f"entry {one.number} is {truth[one.number]} and {one}")
    in_order = [truth[number] for number in sorted(truth)]
    unsent, wrong_writes = _judge_writes(in_order, acknowledged)
    wrong += wrong_writes
    end = min(stream.stretches[-1].upto for stream in streams)
    for stream in streams:
        for write, begin, next_sent in unsent:
            if write.key.startswith(stream.prefix) and any(
                stretch.begin <= begin and (next_sent or end) <= stretch.upto
                for stretch in stream.stretches
            ):
                wrong.append(f"{write} was not told")
    unknown = {write.key for write, _, _ in unsent}
    for place, stream in enumerate(streams):
        here = [one for one in in_order if one.key.startswith(stream.prefix)]
        problems = _judge(stream, here, unknown)
        wrong += [f"watcher {place} of {stream.prefix!r}: {why}" for why in problems]
    return wrong


Unsent = tuple[SentEvent, int, int]  # a write, and the sent entries before and after it


def _judge_writes(
    in_order: Sequence[SentEvent], acknowledged: Sequence[Sequence[SentEvent]]
) -> tuple[list[Unsent], list[str]]:
    """Return the writes that were sent to no watcher, with the entries around them, and the
    findings."""
    unsent, wrong = list[Unsent](), []
    places: dict[SentEvent, list[int]] = {}
    for one in in_order:
        places.setdefault(SentEvent(0, one.kind, one.key, one.value), []).append(one.number)
    for writes in acknowledged:
        before, missed = 0, list[SentEvent]()
        for write in writes:
            indexes = places.pop(write, [])
            if not indexes:
                missed += [write] if write.value != LAST else []
                continue
            if len(indexes) > 1:
                wrong.append(f"{write} was told {len(indexes)} times: {indexes}")
            elif indexes[0] <= before:
                wrong.append(f"{write} precedes a write that was acknowledged before it")
            unsent += [(one, before, indexes[0]) for one in missed]
            before, missed = max([before, *indexes]), []
        unsent += [(one, before, 0) for one in missed]
    return unsent, wrong + [f"nobody wrote {one}" for one in places]


def _judge(stream: Stream, here: Sequence[SentEvent], unknown: Container[str]) -> list[str]:
    """Judge one watcher; `unknown` are the keys of writes that were sent to no watcher."""
    wrong = []
    before = 0
    for stretch in stream.stretches:
        if stretch.begin < before:
            wrong.append(f"it went back from {before} to {stretch.begin}")
        before = stretch.upto
        expected = [one for one in here if stretch.begin < one.number <= stretch.upto]
        if stretch.sent != expected:
            missing = [one for one in expected if one not in stretch.sent]
            wrong.append(
                f"from {stretch.begin} to {stretch.upto}: missing {missing[:3]}, told "
                f"{len(stretch.sent)} of {len(expected)}"
            )
        if stretch.keys is not None:
            state: dict[str, str] = {}
            for one in here:
                if one.number <= stretch.begin:
                    state.pop(one.key, None)
                    if one.kind == "set":
                        state[one.key] = one.value
            odd = sorted(set(state.items()) ^ set(stretch.keys.items()))
            if odd := [pair for pair in odd if pair[0] not in unknown]:
                wrong.append(f"the keys as of {stretch.begin} differ: {odd[:3]}")
    return wrong
