"""A run that a person can't change: its seed decides about faults and clients."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from .acts import ActRefused
from .live_picture import LivePicture
from .run import Run

LINES_MAX = 50  # the last ones, as many as the page keeps


class FixedRun(Run):
    """A run of events that something else decides."""

    source = ""  # what it is, for a person who tries to act
    names_places = True

    def _make_world(self) -> None:
        self.picture = LivePicture(names_places=self.names_places)
        self._lines: deque[str] = deque(maxlen=LINES_MAX)
        self._is_over = False
        self._events = self._make_events()

    def _make_events(self) -> Iterator[None]:
        """Set `world`, `hosts` and `links`; return the events, with a `yield` before each."""
        raise NotImplementedError

    def _start(self) -> None:
        self._run_event()  # up to the first event

    def _run_event(self) -> None:
        self._is_over = next(self._events, self) is self

    def _can_go_on(self) -> bool:
        return not self._is_over

    def act(self, act: str) -> None:
        raise ActRefused(f"this is {self.source}. New begins a run of your own")

    def _say(self, line: str) -> None:
        """Keep a line of the trace about a fault."""
        time, _, what = line.strip().partition("  > ")
        if what:
            self._lines.append(f"{time} ms: {what}")

    def _answers(self) -> list[str]:
        lines = list(self._lines)
        self._lines.clear()
        return lines
