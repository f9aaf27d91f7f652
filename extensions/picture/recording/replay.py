"""Replay of a recorded node: a new core starts from the recorded state, and steps through the
recorded inputs and random draws until its Effects differ from the recorded ones."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from raftline.raft.effects import Effects
from raftline.raft.inputs import Input, Receive
from raftline.raft.log import Entry, Log, SafetyError
from raftline.raft.messages import PeerError
from raftline.raft.node import RawNode
from raftline.raft.state import State
from raftline.wire.peer_lines import read

from .plain_values import PlainError, Tokens, core_types, value_of, with_fields
from .recorded_node import (
    NOT_RECORDED,
    forget_answered,
    format_draw,
    format_effects,
    format_error,
)

_STEP = re.compile(r"@(-?[0-9]+) (\w+)(?: (.*))?", re.S)
_ENTRY = re.compile(r"entry ([0-9]+) ([0-9]+) (.*)", re.S)


class BadRecording(ValueError):
    """A file that is not a recording, or comes from another version of the core."""


@dataclass(frozen=True)
class ReplayDifference:
    """The first step whose outcome differs from the recorded one."""

    step: int  # counted from 1
    line: int  # of the recording, where the step begins
    event: str
    recorded: list[str]
    replayed: list[str]


@dataclass(frozen=True)
class ReplayResult:
    """The number of steps with equal Effects, and the first step with different ones."""

    steps: int
    difference: ReplayDifference | None = None


def replay(
    lines: Iterable[str], first_line: int = 1, look: Callable[[RawNode], None] = lambda node: None
) -> ReplayResult:
    """Step a new core through a recording; `first_line` is the number of the first line. `look`
    receives the core before its first step.

    A truncated last step, without an empty line after it, is skipped.

    Raises:
        BadRecording: the text can't be read.
    """
    paragraphs = _paragraphs(lines, first_line)
    number, first = next(paragraphs, (first_line, []))
    if not first:
        raise BadRecording("it ends within its first state")
    replayed = _Replayed(state_of(first, number))
    look(replayed.node)
    steps = 0
    for number, (event, *recorded) in paragraphs:
        try:
            outcome = replayed.step(event, recorded)
        except (ValueError, PeerError) as error:
            raise BadRecording(f"line {number}: {error}") from None
        if outcome != recorded:
            return ReplayResult(
                steps, ReplayDifference(steps + 1, number, event, recorded, outcome)
            )
        steps += 1
    return ReplayResult(steps)


def _paragraphs(lines: Iterable[str], first: int) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of the first line, and the lines, of each complete paragraph."""
    paragraph: list[str] = []
    for number, line in enumerate(lines, start=first):
        if line != "\n":
            paragraph.append(line.removesuffix("\n"))
        elif paragraph:
            yield number - len(paragraph), paragraph
            paragraph = []


def state_of(lines: list[str], first: int) -> State:
    """Return the first state of a segment; the caller sets its random source."""
    fields: dict[str, Any] = {}
    entries: list[Entry] = []
    log_field = ""
    for number, line in enumerate(lines, start=first):
        try:
            if entry := _ENTRY.fullmatch(line):
                entries.append(Entry(int(entry[1]), int(entry[2]), entry[3]))
                continue
            word, field, text = line.split(" ", 2)
            value = json.loads(text)
            if word != "state":
                raise PlainError("neither a field of the state nor an entry")
            if isinstance(value, dict) and "base" in value:
                log_field, fields[field] = field, Log(*value["base"])
            else:
                fields[field] = value_of(value)
        except (ValueError, TypeError, RecursionError) as error:
            raise BadRecording(f"line {number}: {error}") from None
    if not log_field:
        raise BadRecording("its first state has no log")
    log = fields[log_field]
    try:
        for index, term, command in entries:
            if index != log.last_index + 1:
                raise BadRecording(f"entry {index} where {log.last_index + 1} must follow")
            log.append(term, command)
        return with_fields(State, {**fields, **dict.fromkeys(NOT_RECORDED), "out": Effects()})  # type: ignore[no-any-return]
    except (PlainError, SafetyError) as error:
        raise BadRecording(str(error)) from None


class _Replayed:
    """The new core of a replay."""

    def __init__(self, state: State) -> None:
        self.node = RawNode(state)
        state.pick_timeout_ms = self._draw
        self._tokens = Tokens()
        self._draws: list[int] = []  # the remaining recorded draws of this step
        self._drawn: list[str] = []

    def step(self, line: str, recorded: list[str]) -> list[str]:
        """Process the input of a line, with the recorded draws; return the lines of the outcome."""
        event, now_ms = _input_of(line, self.node.view.name)
        draws = [text for text in recorded if text.startswith("draw ")]
        self._draws = [int(text[5:]) for text in draws]
        self._drawn = []
        try:
            effects = self.node.step(event, now_ms)
        except Exception as error:
            return [*self._drawn, format_error(error)]
        lines = [*self._drawn, *format_effects(effects, self._tokens)]
        forget_answered(effects, self._tokens)
        return lines

    def _draw(self) -> int:
        if not self._draws:
            self._drawn.append("draw (none was recorded)")
            return 2 * self.node.view.options.election_timeout_ms
        delay_ms = self._draws.pop(0)
        self._drawn.append(format_draw(delay_ms))
        return delay_ms


def _input_of(line: str, name: str) -> tuple[Input, int]:
    """Return the input and the time of a step's first line.

    Raises:
        ValueError, PeerError: the line is malformed.
    """
    match = _STEP.fullmatch(line)
    if match is None:
        raise ValueError("not the beginning of a step")
    if match[2] == "Receive":
        sender, _, text = (match[3] or "").partition(" ")
        return Receive(read(sender, name, text)), int(match[1])
    kind = core_types().get(match[2])
    if kind is None or kind.__module__ != Receive.__module__:
        raise ValueError(f"the core takes no {match[2]}")
    event: Input = value_of({match[2]: json.loads(match[3]) if match[3] else {}})
    return event, int(match[1])
