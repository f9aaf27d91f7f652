"""Lines out of bytes, and the half lines of all clients together, bounded in bytes. No socket; the
time is handed in, in seconds of one clock."""

from __future__ import annotations

import threading
from collections.abc import Callable

from raftline.wire.limits import HALF_LINES_BYTES, READ_BYTES


class HalfLine(Exception):
    """A line was begun and not ended in time."""


class Late(HalfLine):
    """Lines that were due did not come in time."""


class HalfLines:
    """The bytes of the half lines of all clients of a node, which are bounded together.

    If they are too many, the lines go that began first: one that is being sent ends soon, and
    one that is held up does not. What fits the buffer of its reader is not counted.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bytes: dict[LineBuffer, int] = {}  # in the order in which they began
        self.sum = 0

    def hold(self, lines: LineBuffer, size: int) -> None:
        """Note the bytes of a half line. It may be the one that is given up."""
        given_up = []
        with self._lock:
            self.sum += size - self._bytes.get(lines, 0)
            self._bytes[lines] = size
            while self.sum > HALF_LINES_BYTES:
                oldest = next(iter(self._bytes))
                self.sum -= self._bytes.pop(oldest)
                given_up.append(oldest)
        for each in given_up:
            each.give_up()

    def let_go(self, lines: LineBuffer) -> None:
        """Forget a half line, if it is there."""
        with self._lock:
            self.sum -= self._bytes.pop(lines, 0)


class LineBuffer:
    """The lines of one connection, and the one that has begun, which has `patience_s` to end. For
    one thread at a time. A silent connection may stay for ever."""

    def __init__(
        self,
        patience_s: float,
        half_lines: HalfLines | None = None,
        on_given_up: Callable[[], None] = lambda: None,
    ) -> None:
        """With `half_lines` what is kept here counts among those of all clients. `on_given_up` is
        called by any thread."""
        self._patience_s = patience_s
        self._half_lines = half_lines
        self._on_given_up = on_given_up
        self.is_given_up = False  # by `half_lines`
        self.begun = bytearray()  # of the line that has begun; pieces of a byte take no more
        self._begun_s = 0.0
        self.due_s = 0.0  # when all that is due must have come; 0: nothing is

    def feed(self, data: bytes, now_s: float) -> list[bytes]:
        """Return the lines that end in these bytes, without their newlines; keep the rest.

        Raises:
            HalfLine: as `check_time`.
        """
        if self.due_s:
            self.check_time(now_s)
        lines = data.split(b"\n")
        rest = lines.pop()
        if lines and self.begun:
            self.begun += lines[0]
            lines[0] = bytes(self.begun)
            self.forget()
        if rest:
            self._keep(rest, now_s)
        return lines

    def _keep(self, data: bytes, now_s: float) -> None:
        if not self.begun:
            self._begun_s = now_s
        self.begun += data
        if self._half_lines is not None and len(self.begun) > READ_BYTES:
            self._half_lines.hold(self, len(self.begun))
        self.check_time(now_s)

    def check_time(self, now_s: float) -> None:
        """Look whether anything is late.

        Raises:
            HalfLine: a line was begun `patience_s` ago and has not ended; or, as `Late`, lines that
                were due have not come.
        """
        if self.due_s and now_s > self.due_s:
            raise Late
        if self.begun and now_s - self._begun_s > self._patience_s:
            raise HalfLine

    def count_no_more(self) -> None:
        """Count half lines no more among those of all clients: a member sends them, whose lines
        have a limit of their own."""
        if self._half_lines is not None:
            self._half_lines.let_go(self)
            self._half_lines = None

    def forget(self) -> None:
        """Give the memory of a half line back."""
        self.begun = bytearray()
        if self._half_lines is not None:
            self._half_lines.let_go(self)

    def give_up(self) -> None:
        """Have whoever reads here give up the line that has begun; from any thread."""
        self.is_given_up = True
        self._on_given_up()
