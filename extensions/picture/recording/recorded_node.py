"""A node that records its steps: the input, the random draws, and the Effects.

A recording is text in paragraphs, each of which ends with an empty line. The first paragraph is the
whole state of the core: a line `state FIELD VALUE` for each field, and a line `entry INDEX TERM
COMMAND` for each entry of the log in memory. Each later paragraph is one step:

    @81234 Receive s1 AppendEntries 3-41-3-[{"index": 42, …}] commit 41 round 9
    draw 187
    append 42 3 set b 5
    send_after_save s1 I am up to date term 3 index 42 round 9

These lines are the time and the input, then each random draw, then the Effects without their empty
fields. Messages have the form that they have on the wire. Several entries appear in Effects as
their range and a checksum, and a waiting request appears as a number. `replay.py` reads recordings.
"""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, Protocol

from raftline.raft.effects import Chunk, Effects
from raftline.raft.inputs import Input, Receive, Stop
from raftline.raft.log import Entry, Log
from raftline.raft.messages import AppendEntries, Message
from raftline.raft.node import RawNode
from raftline.raft.state import State
from raftline.wire.peer_lines import format_append, format_message

from .plain_values import Tokens, plain

HEADER = "raftline recording of a node's core"  # the beginning of its first line
ENTRY_SHOWN_MAX = 120  # most characters of an entry that Effects show in full

_EFFECTS = [field.name for field in dataclasses.fields(Effects)]
_values = attrgetter(*_EFFECTS)
_STATE = [field.name for field in dataclasses.fields(State)]
NOT_RECORDED = ("pick_timeout_ms", "out")  # random draws are recorded instead; Effects begin empty


class Recorder(Protocol):
    """The file of a recording."""

    def begin(self, state: Iterator[str]) -> None:
        """Begin a new segment with these lines of the whole state; raise if that fails."""

    def add(self, step: str, now_ms: int, *, may_be_last: bool) -> bool:
        """Add the paragraph of one step; return whether a new segment is due. Raise if that fails.
        `may_be_last` means that this server stops, or that an invariant broke."""

    def give_up(self, error: Exception) -> None:
        """Stop recording because of this error."""


class RecordedNode(RawNode):
    """A node that takes over the state of another one and records each of its steps."""

    def __init__(self, node: RawNode, recorder: Recorder) -> None:
        super().__init__(node._state)
        self._recorder: Recorder | None = recorder
        self._tokens = Tokens()
        self._pick_timeout_ms: Callable[[], int] = self._state.pick_timeout_ms
        self._state.pick_timeout_ms = self._draw
        self._draws: list[int] = []
        self._stops = False
        self.begin_segment()

    def step(self, event: Input, now_ms: int) -> Effects:
        self._draws.clear()
        try:
            effects = super().step(event, now_ms)
        except Exception as error:
            self._record(event, now_ms, [format_error(error)])
            raise
        self._record(event, now_ms, effects)
        return effects

    def _draw(self) -> int:
        delay_ms = self._pick_timeout_ms()
        self._draws.append(delay_ms)
        return delay_ms

    def begin_segment(self) -> None:
        """Begin a segment with the present state, for example after a change that no input made.
        No error here, or in `_record`, may reach the node."""
        if self._recorder is None:
            return
        self._tokens.clear()
        try:
            self._recorder.begin(format_state(self._state, self._tokens))
        except Exception as error:
            self._give_up(self._recorder, error)

    def _give_up(self, recorder: Recorder, error: Exception) -> None:
        self._recorder = None
        self._tokens.clear()
        recorder.give_up(error)

    def _record(self, event: Input, now_ms: int, outcome: Effects | list[str]) -> None:
        """Record one step."""
        tokens, recorder = self._tokens, self._recorder
        if recorder is None:
            return
        try:
            lines = [format_input(event, now_ms, tokens), *map(format_draw, self._draws)]
            if isinstance(outcome, Effects):
                lines += format_effects(outcome, tokens)
                forget_answered(outcome, tokens)
            else:
                lines += outcome
            self._stops = self._stops or isinstance(event, Stop)
            may_be_last = self._stops or not isinstance(outcome, Effects)
            is_full = recorder.add("\n".join(lines) + "\n\n", now_ms, may_be_last=may_be_last)
        except Exception as error:
            self._give_up(recorder, error)
        else:
            if is_full:
                self.begin_segment()


def forget_answered(effects: Effects, tokens: Tokens) -> None:
    """Forget the requests that these Effects answer."""
    for ready in effects.reads:
        tokens.forget(ready.token)
    for settled in effects.settled:
        tokens.forget(settled.token)
    for token in effects.refused:
        tokens.forget(token)


def format_state(state: State, tokens: Tokens) -> Iterator[str]:
    """Yield the lines of a state, and an empty line at the end."""
    for field in _STATE:
        value = getattr(state, field)
        if isinstance(value, Log):
            yield f"state {field} {_json({'base': [value.base_index, value.base_term]})}"
        elif field not in NOT_RECORDED:
            yield f"state {field} {_json(plain(value, tokens))}"
    for index, term, command in state.log.entries(state.log.base_index + 1, state.log.last_index):
        yield f"entry {index} {term} {command}"
    yield ""


def format_input(event: Input, now_ms: int, tokens: Tokens) -> str:
    """Return the line of an input and its time."""
    if isinstance(event, Receive):
        return f"@{now_ms} Receive {event.message.sender} {format_message(event.message)}"
    ((name, fields),) = plain(event, tokens).items()
    return f"@{now_ms} {name} {_json(fields)}" if fields else f"@{now_ms} {name}"


def format_draw(delay_ms: int) -> str:
    """Return the line of a random draw."""
    return f"draw {delay_ms}"


def format_error(error: Exception) -> str:
    """Return the line of a step that was refused or failed."""
    return _one_line(f"raises {type(error).__name__}: {error}")


def format_effects(effects: Effects, tokens: Tokens) -> list[str]:
    """Return the lines of Effects; empty fields have no lines."""
    lines: list[str] = []
    texts: dict[int, str] = {}  # the text of this step's entries so far, by id
    for field, value in zip(_EFFECTS, _values(effects), strict=True):
        if not value and (value is None or value is False or type(value) is list):
            continue
        if field in _EACH:
            of_item = _EACH[field]
            lines += [f"{field} {of_item(item, texts)}" for item in value]
        elif field in ("append", "apply"):
            lines.append(f"{field} {_entries(value, texts)}")
        else:
            lines.append(f"{field} {_json(plain(value, tokens))}")
    return lines


def _message(message: Message, texts: dict[int, str]) -> str:
    if isinstance(message, AppendEntries):
        entries = f"[{_entries(message.entries, texts)}]"
        return f"{message.to} {format_append(message, entries)}"
    return f"{message.to} {format_message(message)}"


def _chunk(chunk: Chunk, texts: dict[int, str]) -> str:
    return f"{len(chunk.data)} bytes at {chunk.offset} crc32 {zlib.crc32(chunk.data):08x}"


_EACH: dict[str, Callable[[Any, dict[int, str]], str]] = {
    "send": _message,
    "send_after_save": _message,
    "send_past_entries": _message,
    "chunks": _chunk,
    "notes": lambda note, texts: _one_line(note),
}


def _entries(entries: Sequence[Entry], texts: dict[int, str]) -> str:
    """Return entries as Effects show them: a single short entry in full, others as index ranges of
    one term and a checksum of the commands."""
    if not entries:
        return ""
    if len(entries) == 1 and len(entries[0].command) <= ENTRY_SHOWN_MAX:
        index, term, command = entries[0]
        return f"{index} {term} {command}"
    text = texts.get(id(entries))
    if text is None:
        text = texts[id(entries)] = _range_of(entries)
    return text


def _range_of(entries: Sequence[Entry]) -> str:
    runs = [(entries[0], entries[-1])]
    if entries[0].term != entries[-1].term:
        grouped = [list(run) for _, run in groupby(entries, key=lambda entry: entry.term)]
        runs = [(run[0], run[-1]) for run in grouped]
    ranges = ", ".join(f"{first.index}-{last.index} of term {first.term}" for first, last in runs)
    text = "\n".join([entry[2] for entry in entries])
    return f"{ranges} crc32 {zlib.crc32(text.encode('utf-8', 'surrogatepass')):08x}"


def _one_line(text: str) -> str:
    return text.replace("\n", "\\n")


_json = json.JSONEncoder(ensure_ascii=False).encode
