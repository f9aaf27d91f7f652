"""The client that watches a prefix at one node after the other.

It resumes after the last entry that it knows, leaves in the middle of anything, and ends some of
its watches by `unwatch`.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from random import Random
from typing import Any, Final, NamedTuple, TypeAlias

from raftline.state.key_events import BareEvent
from raftline.wire.commands import watch_lines as words
from raftline.wire.protocol import split_sender

STAYS_MS: Final = (200, 1000, 10_000)
UNWATCHED: Final = 0.3  # share of the stays that end by `unwatch`
UNWATCH_MS: Final = 1000  # that its reply may take
LEAVE_MS: Final = 60
_HAS: Final = re.compile(r"EVENT ([0-9]+) has (\S+) (.*)")
_BEGINS: Final = re.compile(r"WATCH response: ([0-9]+) keys? as of ([0-9]+)")
_ENDED: Final = re.compile(
    r"UNWATCH response: ended after ([0-9]+)"
    r"|Sorry, .*\. Go on with: watch(?: \S+)? after ([0-9]+)"
)
_ANEW: Final = re.compile(r"Sorry, .* begins anew with what there is\.")

ListenSteps: TypeAlias = "Generator[Any, Any, None]"


class Open(NamedTuple):
    """Connect to any node and send this line, or do nothing if that fails."""

    line: str
    stay_ms: int


class Say(NamedTuple):
    """Send a line on the same connection, and stay for longer."""

    line: str
    stay_ms: int


class NextLine(NamedTuple):
    """Wait for a line. The answer is "" at the end of the stay, and None without a connection."""


class Leave(NamedTuple):
    """Hang up, and rest for up to this long."""

    ms: int


class WatchReport:
    """The events of a watcher, as it reports them to a judge."""

    def listed(self, number: int, keys: dict[str, str]) -> None:
        """Take the keys as of an entry."""

    def resumed(self, number: int) -> None:
        """Take the answer that the watch resumes after an entry."""

    def got(self, event: BareEvent) -> None:
        """Take an event."""

    def passed(self, number: int) -> None:
        """Take the word that there is no other event up to an entry."""

    def ended(self, why: str) -> None:
        """Take the line by which a node refuses or ends the watch, or begins it again."""


class WatcherMachine:
    """A client with one watch at a time."""

    def __init__(
        self,
        name: str,
        prefix: str,
        chance: Random,
        report: WatchReport,
        *,
        is_numbered: bool = True,
        stays_ms: Sequence[int] = STAYS_MS,
    ) -> None:
        """Create a watcher; if it `is_numbered`, each of its watches has an id."""
        self.stopped = False  # set by the runner
        self._name = name
        self._prefix = prefix
        self._chance = chance
        self._report = report
        self._is_numbered = is_numbered
        self._stays_ms = stays_ms
        self._number = 0  # of the watch
        # All events up to this entry have arrived; None: not even the keys.
        self._position: int | None = None
        self._left = 0  # keys that are still missing; -1: so is the first line
        self._base = 0
        self._keys: dict[str, str] = {}

    def steps(self) -> ListenSteps:
        """Watch until it is stopped."""
        while not self.stopped:
            self._number += 1
            self._left = -1 if self._position is None else 0
            asked = words.format_watch(words.WatchAsked(self._prefix, self._position))
            yield Open(self._formatted(asked), self._chance.choice(self._stays_ms))
            yield from self._listen()
            if self._left:  # the keys are incomplete
                self._position = None
            yield Leave(LEAVE_MS)

    def _formatted(self, command: str) -> str:
        number = f"#{self._number}" if self._is_numbered else ""
        return f"{self._name}{number}@{command}"

    def _listen(self) -> ListenSteps:
        """Take lines until the watch ends, or the connection or the stay."""
        may_end = self._chance.random() < UNWATCHED
        while (line := (yield NextLine())) is not None:
            if not line:
                if not may_end:
                    return
                may_end = False
                yield Say(self._formatted("unwatch"), UNWATCH_MS)
            elif not self._take(line):
                return

    def _take(self, line: str) -> bool:
        """Take a line; return whether the watch continues here."""
        _, number, text = split_sender(line)
        expected = str(self._number) if self._is_numbered else ""
        assert number == expected, f"{self._name} watches under {expected!r}, and gets {line!r}"
        if text.startswith("EVENT "):
            self._take_event(text)
        elif match := _BEGINS.fullmatch(text):
            self._left, self._base, self._keys = int(match[1]), int(match[2]), {}
            self._position = None
            self._have_keys()
        elif text == words.goes_on(self._position or 0):
            self._report.resumed(self._position or 0)
        elif match := _ENDED.fullmatch(text):
            self._pass(int(match[1] or match[2]))
            self._report.ended(text)
            return False
        else:
            is_end = text.startswith("Sorry, ") or text == words.ENDED_AMID_KEYS
            assert is_end, f"{self._name} at {self._position} gets {text!r}"
            self._report.ended(text)
            if not _ANEW.fullmatch(text):
                return False
            self._position, self._left = None, -1
        return True

    def _take_event(self, text: str) -> None:
        if match := _HAS.fullmatch(text):
            is_fit = self._left > 0 and int(match[1]) == self._base
            assert is_fit, f"{self._name} gets {text!r} after the keys"
            self._keys[match[2]] = match[3]
            self._left -= 1
            self._have_keys()
            return
        is_fit = not self._left and self._position is not None
        assert is_fit, f"{self._name} gets {text!r} among the keys"
        _, number, *event = text.split(" ", 4)
        if event:
            kind, key, value = (*event, "")[:3]
            self._report.got((int(number), kind, key, value))
            self._position = int(number) - 1  # there may be more of this entry
        else:
            self._pass(int(number))

    def _have_keys(self) -> None:
        """Report the keys once all have arrived."""
        if not self._left:
            self._position = self._base
            self._report.listed(self._base, self._keys)

    def _pass(self, number: int) -> None:
        self._report.passed(number)
        if self._position is not None:
            self._position = max(self._position, number)
