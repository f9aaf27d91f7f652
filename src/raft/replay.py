"""A recorded node, once more: a fresh core from the state of a recording, stepped through its
inputs and its draws of chance, until its Effects differ from the recorded ones."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .effects import Effects
from .inputs import Input, Receive
from .log import Entry, Log, SafetyError
from .messages import PeerError
from .node import RawNode
from .plain import PlainError, Tokens, core_types, value_of, with_fields
from .recording import (
    NOT_SPELLED,
    forget_answered,
    spell_draw,
    spell_effects,
    spell_error,
)
from .spelling import read
from .state import State

_STEP = re.compile(r"@(-?[0-9]+) (\w+)(?: (.*))?", re.S)
_ENTRY = re.compile(r"entry ([0-9]+) ([0-9]+) (.*)", re.S)


class BadRecording(ValueError):
    """The file is not a recording, or is one of another version of the core."""


@dataclass(frozen=True)
class Difference:
    """The first step whose outcome is another one now."""

    step: int  # counted from 1
    line: int  # of the recording, in which the step begins
    event: str
    recorded: list[str]
    replayed: list[str]


@dataclass(frozen=True)
class ReplayResult:
    """How many steps had the same Effects, and the first one that had others."""

    steps: int
    difference: Difference | None = None


def replay(
    lines: Iterable[str], first_line: int = 1, look: Callable[[RawNode], None] = lambda node: None
) -> ReplayResult:
    """Step a fresh core through a recording; `first_line` is the number of the first line. `look`
    gets the core before its first step.

    A last step that was cut off, without an empty line after it, is left out.

    Raises:
        BadRecording: the text can't be read.
    """
    paragraphs = _paragraphs(lines, first_line)
    number, first = next(paragraphs, (first_line, []))
    if not first:
        raise BadRecording("it ends within its first state")
    replayed = _Replayed(state_of(first, number))
    look(replayed.node)
    done = 0
    for number, (event, *recorded) in paragraphs:
        try:
            came_out = replayed.step(event, recorded)
        except (ValueError, PeerError) as error:
            raise BadRecording(f"line {number}: {error}") from None
        if came_out != recorded:
            return ReplayResult(done, Difference(done + 1, number, event, recorded, came_out))
        done += 1
    return ReplayResult(done)


def _paragraphs(lines: Iterable[str], first: int) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of the first line, and the lines, of each whole paragraph."""
    found: list[str] = []
    for number, line in enumerate(lines, start=first):
        if line != "\n":
            found.append(line.removesuffix("\n"))
        elif found:
            yield number - len(found), found
            found = []


def state_of(lines: list[str], first: int) -> State:
    """Return the first state of a segment; the caller sets its source of chance."""
    found: dict[str, Any] = {}
    entries: list[Entry] = []
    log_field = ""
    for number, line in enumerate(lines, start=first):
        try:
            if entry := _ENTRY.fullmatch(line):
                entries.append(Entry(int(entry[1]), int(entry[2]), entry[3]))
                continue
            word, field, spelled = line.split(" ", 2)
            value = json.loads(spelled)
            if word != "state":
                raise PlainError("neither a field of the state nor an entry")
            if isinstance(value, dict) and "base" in value:
                log_field, found[field] = field, Log(*value["base"])
            else:
                found[field] = value_of(value)
        except (ValueError, TypeError, RecursionError) as error:
            raise BadRecording(f"line {number}: {error}") from None
    if not log_field:
        raise BadRecording("its first state has no log")
    log = found[log_field]
    try:
        for index, term, command in entries:
            if index != log.last_index + 1:
                raise BadRecording(f"entry {index} where {log.last_index + 1} must follow")
            log.append(term, command)
        return with_fields(State, {**found, **dict.fromkeys(NOT_SPELLED), "out": Effects()})  # type: ignore[no-any-return]
    except (PlainError, SafetyError) as error:
        raise BadRecording(str(error)) from None


class _Replayed:
    """The fresh core."""

    def __init__(self, state: State) -> None:
        self.node = RawNode(state)
        state.pick_timeout_ms = self._draw
        self._tokens = Tokens()
        self._draws: list[int] = []  # the recorded ones that are left of this step
        self._drawn: list[str] = []

    def step(self, line: str, recorded: list[str]) -> list[str]:
        """Take the input of a line, with the recorded draws; return the lines of what came out."""
        event, now_ms = _input_of(line, self.node.view.name)
        draws = [text for text in recorded if text.startswith("draw ")]
        self._draws = [int(text[5:]) for text in draws]
        self._drawn = []
        try:
            effects = self.node.step(event, now_ms)
        except Exception as error:
            return [*self._drawn, spell_error(error)]
        lines = [*self._drawn, *spell_effects(effects, self._tokens)]
        forget_answered(effects, self._tokens)
        return lines

    def _draw(self) -> int:
        if not self._draws:
            self._drawn.append("draw (none was recorded)")
            return 2 * self.node.view.options.election_timeout_ms
        drawn = self._draws.pop(0)
        self._drawn.append(spell_draw(drawn))
        return drawn


def _input_of(line: str, name: str) -> tuple[Input, int]:
    """Return the input and the time of a step's first line.

    Raises:
        ValueError, PeerError: it has another form.
    """
    found = _STEP.fullmatch(line)
    if found is None:
        raise ValueError("not the beginning of a step")
    if found[2] == "Receive":
        sender, _, text = (found[3] or "").partition(" ")
        return Receive(read(sender, name, text)), int(found[1])
    kind = core_types().get(found[2])
    if kind is None or kind.__module__ != Receive.__module__:
        raise ValueError(f"the core takes no {found[2]}")
    event: Input = value_of({found[2]: json.loads(found[3]) if found[3] else {}})
    return event, int(found[1])
