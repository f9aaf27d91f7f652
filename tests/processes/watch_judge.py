"""The judge of watchers: it puts all that they were told together, and compares each with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Told:
    """One event as a watcher was told it."""

    number: int
    kind: str
    key: str
    value: str = ""


@dataclass
class Stretch:
    """The events that a watch told from a beginning on, without a gap, on several connections."""

    begin: int  # the entry that the keys are as of, or behind which it went on
    keys: dict[str, str] | None  # those that were there, None where it went on
    told: list[Told] = field(default_factory=list)
    upto: int = 0  # the last entry that is known to be told whole


@dataclass
class Stream:
    """All that one watcher was told."""

    prefix: str
    stretches: list[Stretch] = field(default_factory=list)
    moves: Counter[str] = field(default_factory=Counter)


def judge(streams: Sequence[Stream], acknowledged: Sequence[Sequence[Told]]) -> list[str]:
    """Return what is wrong: nothing, where each watcher was told each event once, in order.

    `acknowledged` are the writes of each writer, one after the other, with number 0.
    """
    truth: dict[int, Told] = {}
    wrong: list[str] = []
    for stream in streams:
        for stretch in stream.stretches:
            for one in stretch.told:
                if truth.setdefault(one.number, one) != one:
                    wrong.append(f"entry {one.number} is {truth[one.number]} and {one}")
    in_order = [truth[number] for number in sorted(truth)]
    wrong += _judge_writes(in_order, acknowledged)
    for place, stream in enumerate(streams):
        here = [one for one in in_order if one.key.startswith(stream.prefix)]
        wrong += [f"watcher {place} of {stream.prefix!r}: {why}" for why in _judge(stream, here)]
    return wrong


def _judge_writes(in_order: Sequence[Told], acknowledged: Sequence[Sequence[Told]]) -> list[str]:
    wrong = []
    places: dict[Told, list[int]] = {}
    for one in in_order:
        places.setdefault(Told(0, one.kind, one.key, one.value), []).append(one.number)
    for writes in acknowledged:
        before = 0
        for write in writes:
            found = places.pop(write, [])
            if len(found) != 1:
                wrong.append(f"{write} was told {len(found)} times: {found}")
            elif found[0] <= before:
                wrong.append(f"{write} stands before what was acknowledged before it")
            before = max([before, *found])
    return wrong + [f"nobody wrote {one}" for one in places]


def _judge(stream: Stream, here: Sequence[Told]) -> list[str]:
    wrong = []
    before = 0
    for stretch in stream.stretches:
        if stretch.begin < before:
            wrong.append(f"it went back from {before} to {stretch.begin}")
        before = stretch.upto
        expected = [one for one in here if stretch.begin < one.number <= stretch.upto]
        if stretch.told != expected:
            missing = [one for one in expected if one not in stretch.told]
            wrong.append(
                f"from {stretch.begin} to {stretch.upto}: missing {missing[:3]}, told "
                f"{len(stretch.told)} of {len(expected)}"
            )
        if stretch.keys is not None:
            state: dict[str, str] = {}
            for one in here:
                if one.number <= stretch.begin:
                    state.pop(one.key, None)
                    if one.kind == "set":
                        state[one.key] = one.value
            if state != stretch.keys:
                odd = sorted(set(state.items()) ^ set(stretch.keys.items()))
                wrong.append(f"the keys as of {stretch.begin} differ: {odd[:3]}")
    return wrong
