"""The transcript of one check: each line to and from the node under test, with its time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby

from raftline.raft.messages import Message, PeerError
from raftline.wire.peer_lines import FIRST_WORDS, read

TO_NODE, FROM_NODE, ACT = ">", "<", "*"
TEXT_MAX = 220
LINES_MAX = 60
RUN_MAX = 4  # lines of one kind in a row
KEPT_MAX = 100_000  # lines of one check in memory; a node that sends more is no longer heard


class TooManyLines(ValueError):
    """The node sends more lines than any check needs, perhaps without end."""


@dataclass(frozen=True)
class Line:
    """One line. `other` is the node's partner; `wire` is the connection; `text` has no name in
    front."""

    number: int
    at_s: float
    way: str
    other: str
    name: str
    text: str
    wire: object
    message: Message | None = None

    def shown(self) -> str:
        """Return the line for a report."""
        name = f"{self.name}@" if self.name else ""
        text = self.text if len(self.text) <= TEXT_MAX else self.text[:TEXT_MAX] + " …"
        to = f"   (to {self.other})" if self.way == FROM_NODE else ""
        return f"{self.at_s:9.3f} {self.way} {name}{text}{to}"


def message_in(name: str, to: str, text: str) -> Message | None:
    """Return the peer's message that a line holds; None if it isn't a message, or is malformed."""
    if text.split(" ", 1)[0] not in FIRST_WORDS:
        return None
    try:
        return read(name, to, text)
    except PeerError:
        return None


class Transcript:
    """All lines in their order. Threads add to it; the check waits for lines."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.is_calm = False  # the kit leads: the check needs no election by the node
        self._disturbed: Line | None = None  # the first line of such an election
        self._is_over = False
        self._changed = threading.Condition()
        self._start_s = time.monotonic()

    @property
    def end(self) -> int:
        """The number of the next line."""
        with self._changed:
            return len(self.lines)

    @property
    def is_full(self) -> bool:
        """Whether no further line of the node is kept."""
        return len(self.lines) >= KEPT_MAX

    def add(self, way: str, other: str, name: str, text: str, wire: object = None) -> Line:
        """Add one line.

        Raises:
            TooManyLines: the node sent it, and the limit is reached.
        """
        if self.is_full and way == FROM_NODE:
            raise TooManyLines
        message = message_in(name, other, text) if way == FROM_NODE else None
        with self._changed:
            at_s = time.monotonic() - self._start_s
            line = Line(len(self.lines), at_s, way, other, name, text, wire, message)
            self.lines.append(line)
            if self.is_calm and text.startswith(("PreVote ", "RequestVote ")) and way == FROM_NODE:
                self._disturbed = self._disturbed or line
            self._changed.notify_all()
        return line

    @property
    def disturbed(self) -> str:
        """The line that shows an unwanted election or a lost lead; "" without one."""
        return self._disturbed.shown().strip() if self._disturbed else ""

    def disturb(self) -> None:
        """Count the last line as a disturbance: the node led, and reports that it no longer does,
        though its followers have answered. The machine was too slow for it."""
        with self._changed:
            self._disturbed = self._disturbed or self.lines[-1]

    def forgive(self, since: int) -> None:
        """Forget a disturbance from this line on: the kit waited too long."""
        if self._disturbed and self._disturbed.number >= since:
            self._disturbed = None

    def act(self, text: str) -> None:
        """Add an action of the kit other than a message."""
        self.add(ACT, "", "", text)

    def find(self, fits: Callable[[Line], bool], since: int = 0) -> Line | None:
        """Return the node's first matching line from a number on."""
        with self._changed:
            lines = self.lines[since:]
        return next((line for line in lines if line.way == FROM_NODE and fits(line)), None)

    def wait(self, fits: Callable[[Line], bool], since: int, timeout_s: float) -> Line | None:
        """Return that line as soon as it arrives; None if it doesn't arrive in time."""
        end_s = time.monotonic() + timeout_s
        while True:
            with self._changed:
                seen = len(self.lines)
            outcome = self.find(fits, since)
            if outcome is not None:
                return outcome
            with self._changed:
                if len(self.lines) == seen:
                    self._changed.wait(max(0.0, end_s - time.monotonic()))
                if self._is_over or (len(self.lines) == seen and time.monotonic() >= end_s):
                    return None
            since = max(since, seen)

    def stop(self) -> None:
        """End all waits, since the run ends."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def shown(self) -> list[str]:
        """Return its end, as a report shows it. Of a run of heartbeats, or of requests for votes,
        only the first lines are shown."""
        with self._changed:
            lines = list(self.lines)
        shown: list[str] = []
        for kind, run in groupby(lines, _kind_of_run):
            texts = [line.shown() for line in run]
            shown += texts[:RUN_MAX] if kind else texts
            if kind and len(texts) > RUN_MAX:
                shown.append(f"          … {len(texts) - RUN_MAX} more {kind}")
        left_out = len(shown) - LINES_MAX
        if left_out > 0:
            shown = [*shown[:8], f"          … {left_out} lines", *shown[-(LINES_MAX - 8) :]]
        return shown


def _kind_of_run(line: Line) -> str:
    """Return the kind of a line that may occur many times in a row; "" for any other."""
    if line.text.startswith(("PreVote ", "RequestVote ", "Count on me ", "Not this time ")):
        return "requests for votes and their answers"
    is_heartbeat = line.text.startswith("AppendEntries ") and "-[] " in line.text
    if is_heartbeat or (line.way == TO_NODE and line.text.startswith("I am up to date ")):
        return "heartbeats and their answers"
    return ""
