"""A node whose steps are written down: what went in, the draws of chance, and what came out.

A recording is text, in paragraphs that an empty line ends. The first is the core's whole state:
a line `state FIELD VALUE` for each field, and a line `entry INDEX TERM COMMAND` for each entry
of the log in memory. Each later paragraph is one step:

    @81234 Receive s1 AppendEntries 3-41-3-[{"index": 42, …}] commit 41 round 9
    draw 187
    append 42 3 set b 5
    send_after_save s1 I am up to date term 3 index 42 round 9

That is the time and the input, then each draw of chance, then the Effects, without the fields
that are empty. Messages stand in the words of the wire. Several entries stand in Effects as
their range and a checksum. A request that waits is a number. `raft/replay.py` reads all of it.
"""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, Protocol

from .effects import Chunk, Effects
from .inputs import Input, Receive, Stop
from .log import Entry, Log
from .messages import AppendEntries, Message
from .node import RawNode
from .plain import Tokens, plain
from .spelling import spell, spell_append
from .state import State

HEADER = "raftline recording of a node's core"  # its first line begins so
ENTRY_SPELLED_MAX = 120  # characters of an entry that stands in Effects as it is

_EFFECTS = [field.name for field in dataclasses.fields(Effects)]
_values = attrgetter(*_EFFECTS)
_STATE = [field.name for field in dataclasses.fields(State)]
NOT_SPELLED = ("pick_timeout_ms", "out")  # chance is recorded by its draws; Effects begin empty


class Recorder(Protocol):
    """The file of a recording."""

    def begin(self, state: Iterator[str]) -> None:
        """Begin a new segment with these lines of the whole state; raise if that can't be done."""

    def add(self, step: str, now_ms: int, *, may_be_last: bool) -> bool:
        """Add the paragraph of one step; return whether a new segment is due. Raise if that can't
        be done. `may_be_last`: this server stops, or an invariant broke."""

    def give_up(self, error: Exception) -> None:
        """Record no more: this went wrong."""


class RecordedNode(RawNode):
    """A node that goes on from another one, and has each of its steps written down."""

    def __init__(self, node: RawNode, recorder: Recorder) -> None:
        super().__init__(node._state)
        self._recorder: Recorder | None = recorder
        self._tokens = Tokens()
        self._pick_timeout_ms: Callable[[], int] = self._state.pick_timeout_ms
        self._state.pick_timeout_ms = self._draw
        self._draws: list[int] = []
        self._stops = False
        self._begin()

    def step(self, event: Input, now_ms: int) -> Effects:
        self._draws.clear()
        try:
            effects = super().step(event, now_ms)
        except Exception as error:
            self._record(event, now_ms, [spell_error(error)])
            raise
        self._record(event, now_ms, effects)
        return effects

    def _draw(self) -> int:
        drawn = self._pick_timeout_ms()
        self._draws.append(drawn)
        return drawn

    def _begin(self) -> None:
        """Begin a segment; nothing that goes wrong here, or in `_record`, may reach the node."""
        if self._recorder is None:
            return
        self._tokens.clear()
        try:
            self._recorder.begin(spell_state(self._state, self._tokens))
        except Exception as error:
            self._give_up(self._recorder, error)

    def _give_up(self, recorder: Recorder, error: Exception) -> None:
        self._recorder = None
        self._tokens.clear()
        recorder.give_up(error)

    def _record(self, event: Input, now_ms: int, outcome: Effects | list[str]) -> None:
        """Write a step down."""
        tokens, recorder = self._tokens, self._recorder
        if recorder is None:
            return
        try:
            lines = [spell_input(event, now_ms, tokens), *map(spell_draw, self._draws)]
            if isinstance(outcome, Effects):
                lines += spell_effects(outcome, tokens)
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
                self._begin()


def forget_answered(effects: Effects, tokens: Tokens) -> None:
    """Forget the requests that these Effects answer."""
    for ready in effects.reads:
        tokens.forget(ready.token)
    for settled in effects.settled:
        tokens.forget(settled.token)
    for token in effects.refused:
        tokens.forget(token)


def spell_state(state: State, tokens: Tokens) -> Iterator[str]:
    """Yield the lines of a state, an empty one last."""
    for field in _STATE:
        value = getattr(state, field)
        if isinstance(value, Log):
            yield f"state {field} {_json({'base': [value.base_index, value.base_term]})}"
        elif field not in NOT_SPELLED:
            yield f"state {field} {_json(plain(value, tokens))}"
    for index, term, command in state.log.entries(state.log.base_index + 1, state.log.last_index):
        yield f"entry {index} {term} {command}"
    yield ""


def spell_input(event: Input, now_ms: int, tokens: Tokens) -> str:
    """Return the line of an input and its time."""
    if isinstance(event, Receive):
        return f"@{now_ms} Receive {event.message.sender} {spell(event.message)}"
    ((name, fields),) = plain(event, tokens).items()
    return f"@{now_ms} {name} {_json(fields)}" if fields else f"@{now_ms} {name}"


def spell_draw(drawn: int) -> str:
    """Return the line of a draw of chance."""
    return f"draw {drawn}"


def spell_error(error: Exception) -> str:
    """Return the line of a step that was refused, or broke."""
    return _one_line(f"raises {type(error).__name__}: {error}")


def spell_effects(effects: Effects, tokens: Tokens) -> list[str]:
    """Return the lines of Effects; fields that ask for nothing have none."""
    lines: list[str] = []
    listed: dict[int, str] = {}  # the entries of this step that were spelled, by id
    for field, value in zip(_EFFECTS, _values(effects), strict=True):
        if not value and (value is None or value is False or type(value) is list):
            continue
        if field in _EACH:
            of_item = _EACH[field]
            lines += [f"{field} {of_item(item, listed)}" for item in value]
        elif field in ("append", "apply"):
            lines.append(f"{field} {_entries(value, listed)}")
        else:
            lines.append(f"{field} {_json(plain(value, tokens))}")
    return lines


def _message(message: Message, listed: dict[int, str]) -> str:
    if isinstance(message, AppendEntries):
        entries = f"[{_entries(message.entries, listed)}]"
        return f"{message.to} {spell_append(message, entries)}"
    return f"{message.to} {spell(message)}"


def _chunk(chunk: Chunk, listed: dict[int, str]) -> str:
    return f"{len(chunk.data)} bytes at {chunk.offset} crc32 {zlib.crc32(chunk.data):08x}"


_EACH: dict[str, Callable[[Any, dict[int, str]], str]] = {
    "send": _message,
    "send_after_save": _message,
    "send_past_entries": _message,
    "chunks": _chunk,
    "notes": lambda note, listed: _one_line(note),
}


def _entries(entries: Sequence[Entry], listed: dict[int, str]) -> str:
    """Return entries as Effects show them: one that is short as it is, else ranges of indexes of
    one term, and a checksum of the commands."""
    if not entries:
        return ""
    if len(entries) == 1 and len(entries[0].command) <= ENTRY_SPELLED_MAX:
        index, term, command = entries[0]
        return f"{index} {term} {command}"
    spelled = listed.get(id(entries))
    if spelled is None:
        spelled = listed[id(entries)] = _range_of(entries)
    return spelled


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
