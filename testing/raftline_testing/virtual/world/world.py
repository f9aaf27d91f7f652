"""Virtual time, chance and the trace of one run."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from math import inf
from random import Random
from typing import Any, Final, TypeVar

from raftline.raft.log import Entry
from raftline.raft.messages import Message
from raftline.wire.peer_lines import format_message

from .chance import up_to

_One = TypeVar("_One")
TRACE_LINES: Final = 80
STANDSTILL_EVENTS: Final = 50_000  # events within one millisecond; 500 holders of locks cause 6,000


def format_entry(entry: Entry) -> str:
    """Return an entry as a line of a log."""
    return f"{entry.index} {entry.term} {entry.command}"


class World:
    """The pending events. Time is in milliseconds and passes only from event to event.

    All chance comes from `random`, seeded once: the same seed gives the same schedule, event by
    event.
    """

    def __init__(self, random: Random, say: Callable[[str], None] | None = None) -> None:
        self.random = random
        self._draw, self._draw_bits = random.random, random.getrandbits
        self.now_ms = 0
        self.events = 0
        self._since_time_passed = 0
        self.counts: dict[str, int] = defaultdict(int)
        self.say = say
        self._trace: deque[tuple[int, str | Message]] = deque(maxlen=TRACE_LINES)
        self._number = -1
        self.acting = ""  # the node that acted last
        self.look: Callable[[], None] | None = None  # after each event
        # Two events of one millisecond happen in an order left to chance.
        self._queue: list[tuple[int, float, int, Callable[..., None], tuple[Any, ...]]] = []

    def after(self, delay_ms: int, act: Callable[..., None], *values: Any) -> None:
        """Schedule `act(*values)` after this time."""
        at_ms = self.now_ms + delay_ms if delay_ms > 0 else self.now_ms
        self._number = number = self._number + 1
        heappush(self._queue, (at_ms, self._draw(), number, act, values))

    def within(self, longest_ms: int, act: Callable[..., None], *values: Any) -> None:
        """Schedule `act(*values)` within this time."""
        bits, draw_bits = (longest_ms + 1).bit_length(), self._draw_bits
        later_ms = draw_bits(bits)  # as `up_to`, without a call
        while later_ms > longest_ms:
            later_ms = draw_bits(bits)
        at_ms = self.now_ms + later_ms
        self._number = number = self._number + 1
        heappush(self._queue, (at_ms, self._draw(), number, act, values))

    def beside(self, delay_ms: int, tie: float, act: Callable[..., None], *values: Any) -> None:
        """Schedule `act(*values)` after this time, without a draw from the world's chance."""
        self._number = number = self._number + 1
        heappush(self._queue, (self.now_ms + delay_ms, tie, number, act, values))

    def wake(self, name: str, delay_ms: int, act: Callable[..., None], *values: Any) -> None:
        """Schedule a node's alarm after this time."""
        self.after(delay_ms, act, *values)

    @property
    def next_ms(self) -> float:
        """The time of the next event; infinite if none is pending."""
        return self._queue[0][0] if self._queue else inf

    def step(self) -> None:
        """Run the next event."""
        at_ms, _, _, act, values = heappop(self._queue)
        if at_ms > self.now_ms:
            self.now_ms = at_ms
            self._since_time_passed = 0
        elif self._since_time_passed < STANDSTILL_EVENTS:
            self._since_time_passed += 1
        else:
            raise AssertionError(f"{STANDSTILL_EVENTS} events and no time passes: a busy loop")
        self.events += 1
        act(*values)
        if self.look is not None:
            self.look()

    def time_ms(self) -> int:
        """Return the time."""
        return self.now_ms

    def tick(self) -> int:
        """Return a number that grows with every call: the clock of the clients' history."""
        self._number += 1
        return self._number

    def up_to(self, most: int) -> int:
        """Draw a number from 0 to `most`."""
        return up_to(most, self.random)

    def pick(self, options: Sequence[_One]) -> _One:
        """Draw one of these."""
        return options[up_to(len(options) - 1, self.random)]

    def chance(self, share: float) -> bool:
        """Return True for this share of all calls."""
        return self._draw() < share

    def tell(self, kind: str, what: str | Message) -> None:
        """Keep a line, or a message that arrives, for the trace. A script prints only some kinds of
        lines: `note`, `send`, `disk`, `answer`."""
        if self.say is not None:
            self.say(_line(self.now_ms, what))
        self._trace.append((self.now_ms, what))

    def applied(self, name: str, entry: Entry) -> None:
        """Trace an applied entry; its reply is enough."""

    def trace(self) -> list[str]:
        """Return the last lines; the number before each is the virtual time in milliseconds."""
        return [_line(*one) for one in self._trace]


def _line(now_ms: int, what: str | Message) -> str:
    if not isinstance(what, str):
        what = f"{what.to} <- {what.sender}@{format_message(what)}"
    return f"{now_ms:7}  {what}"
