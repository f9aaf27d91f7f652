"""The console of a node, which prints every event, but only as much traffic as a terminal can show.

Printing only puts a line in a short queue; one thread writes the lines. So a terminal that is
stopped (Ctrl-S, a full pipe) or gone blocks no other thread.
"""

from __future__ import annotations

import io
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, TextIO

from ..mypyc_compat import mypyc_attr
from .standard_streams import Dropping

LINE_CHARACTERS_MAX = 400
LINES_PER_SECOND_MAX: Final = 40
QUEUE_LINES_MAX = 1000
CLOSE_SECONDS_MAX = 1.0


def safe_line(text: str) -> str:
    """Return `text` as one line without control sequences for a terminal, cut at 400 characters.

    Unprintable characters are shown as bytes, `\\xNN`, so a client can't forge a line.
    """
    cut = len(text) > LINE_CHARACTERS_MAX
    if cut:
        text = text[: LINE_CHARACTERS_MAX - 1]  # before escaping, which takes a long time
    if not text.isprintable():
        text = "".join(c if c.isprintable() else _as_bytes(c) for c in text)
        if len(text) > LINE_CHARACTERS_MAX:
            cut = True
            text = text[: LINE_CHARACTERS_MAX - 1]
    return text + "…" if cut else text


def _beginning(argument: object) -> object:
    """Return the part of an argument that a line can show, plus one character if it is longer."""
    if isinstance(argument, str) and len(argument) > LINE_CHARACTERS_MAX:
        return argument[: LINE_CHARACTERS_MAX + 1]
    return argument


def _as_bytes(character: str) -> str:
    if 0xDC80 <= ord(character) <= 0xDCFF:  # a byte that was not UTF-8, kept by surrogateescape
        return f"\\x{ord(character) - 0xDC00:02x}"
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogatepass"))


def is_warning(line: str) -> bool:
    """Whether a line reports a problem that a person can fix."""
    return line.startswith("[!]")


@mypyc_attr(allow_interpreted_subclasses=True)
class Console:
    """The printer of a node's lines. Any thread may use it, but not a signal handler, since the
    interrupted thread may hold the lock.

    `verbose` is for callers, which print steady heartbeats only if it is set.
    """

    def __init__(
        self,
        stream: TextIO,
        verbose: bool,
        clock: Callable[[], float] = time.monotonic,
        stamp: Callable[[], str] | None = None,
    ) -> None:
        """Start the printing thread. `stamp` returns the time before each line; with None, lines
        have no times."""
        self.verbose = verbose
        self._stamp = stamp
        self._format: Callable[[str], list[str]] = self._stamped
        self._only_warnings = False
        self._shows_traffic = True
        self._writer = StreamWriter(stream)
        self._write: Callable[[str], None] = self._writer.write
        self._clock = clock  # in seconds; only differences matter
        self._changed = threading.Condition(threading.Lock())
        self._lines: deque[tuple[str | None, str]] = deque()  # kind of traffic or None, and text
        self._held: dict[str, int] = {}  # unprinted traffic of this second, by kind
        self._dropped: dict[str, int] = {}  # lines dropped from a full queue, by kind
        self._second_ends = 0.0
        self._printed = 0  # traffic lines in this second
        self._closing = False
        self._traffic_is_over = False
        self._printer = threading.Thread(target=self._print_all, name="console", daemon=True)
        self._printer.start()

    def format_by(self, format_of: Callable[[str], list[str]] | None) -> None:
        """Print the lines that `format_of` returns for a line, from now on; with None, print
        each line unchanged."""
        with self._changed:
            self._format = format_of or self._stamped

    def set_level(self, level: str) -> None:
        """Print everything ("debug"), everything except heartbeats ("traffic"), only events
        ("info"), or only problems and requested lines ("warning")."""
        self.verbose = level == "debug"
        self._shows_traffic = level in ("debug", "traffic")
        self._only_warnings = level == "warning"

    def say(self, text: str) -> None:
        """Print one line that is never traffic: a change of role, an error."""
        line = safe_line(text)
        with self._changed:
            self._put(None, line)

    def answer(self, text: str) -> None:
        """Print one line that a person requested, at any level."""
        line = safe_line(text)
        with self._changed:
            self._put(None, line, is_awaited=True)

    def has_room(self, kind: str, lines: int = 1) -> bool:
        """Whether a line of this kind would be printed in this second; if not, count the lines.

        It takes no lock, for which every request would wait, so a count may be lost.
        """
        if not self._shows_traffic:
            return False
        is_full = self._printed >= LINES_PER_SECOND_MAX and kind in self._held
        if is_full and self._clock() < self._second_ends:
            self._held[kind] = self._held.get(kind, 0) + lines
            return False
        return True

    def traffic(self, kind: str, text: str, *arguments: object) -> None:
        """Print `text % arguments`, or count it under `kind` if this second has enough lines.

        `kind` is a plural, as in "3,120 more requests". Without arguments, `text` is printed
        unchanged.
        """
        if not self.has_room(kind):
            return
        with self._changed:
            if self._traffic_is_over:
                return
            now = self._clock()
            if now >= self._second_ends:
                self._sum_up()
                self._second_ends = now + 1.0
                self._printed = 0
            if self._printed >= LINES_PER_SECOND_MAX:
                if not self._held:
                    self._changed.notify()  # the printer sums up at the end of the second
                self._held[kind] = self._held.get(kind, 0) + 1
                return
            self._printed += 1
        line = safe_line(text % tuple(map(_beginning, arguments)) if arguments else text)
        with self._changed:
            self._put(kind, line)

    def end_traffic(self) -> None:
        """Sum up unprinted lines and stop printing traffic, before the last lines."""
        with self._changed:
            self._sum_up()
            self._traffic_is_over = True

    def close(self) -> None:
        """Print the remaining lines for at most a second; after that nothing is printed."""
        with self._changed:
            self._sum_up()
            self._closing = True
            self._changed.notify()
        self._printer.join(CLOSE_SECONDS_MAX)

    def _sum_up(self) -> None:
        if self._held:
            counts, self._held = self._held, {}
            # Copied, since `has_room` may add a kind at any time.
            self._put(None, f"… {_counted(counts.copy(), ' more')} in this second")

    def _put(self, kind: str | None, line: str, *, is_awaited: bool = False) -> None:
        """Queue a line; if the queue is full, drop the oldest traffic line, or else the oldest
        line."""
        is_wanted = is_awaited or not self._only_warnings or is_warning(line)
        if self._closing or not is_wanted:
            return
        if len(self._lines) >= QUEUE_LINES_MAX:
            oldest = next((i for i, (of, _) in enumerate(self._lines) if of is not None), 0)
            gone = self._lines[oldest][0] or "lines"
            del self._lines[oldest]
            self._dropped[gone] = self._dropped.get(gone, 0) + 1
        self._lines += [(kind, text) for text in self._format(line)]
        self._changed.notify()

    def _stamped(self, line: str) -> list[str]:
        return [line if self._stamp is None else f"{self._stamp()} {line}"]

    def _print_all(self) -> None:
        """Write lines until the console is closed or its stream is gone. Lines that can't be
        written, for example on a full disk, are lost; their number is printed before the next
        lines."""
        lost, why = 0, ""
        while (lines := self._next_lines()) is not None:
            count = len(lines)
            if lost:
                lines[:0] = self._format(f"[!] lines lost here: {lost:,} ({why})")
            try:
                self._write("".join(line + "\n" for line in lines))
                lost = 0
            except (BrokenPipeError, ValueError):  # the reader is gone, or the stream was closed
                self._write = _discard
            except OSError as error:
                lost, why = lost + count, error.strerror or str(error)
        self._writer.close()

    def _next_lines(self) -> list[str] | None:
        """Return the waiting lines, or None when the console is closed and all lines are
        written."""
        with self._changed:
            while not self._lines:
                if self._closing:
                    return None
                if not self._held:
                    self._changed.wait()
                    continue
                left_s = self._second_ends - self._clock()
                if left_s > 0:
                    self._changed.wait(left_s)
                else:
                    self._sum_up()
            lines = [line for _, line in self._lines]
            self._lines.clear()
            if self._dropped:
                summary = f"… {_counted(self._dropped)} dropped: the terminal stood still"
                lines[:0] = self._format(summary)
                self._dropped = {}
            return lines


def _counted(numbers: dict[str, int], more: str = "") -> str:
    return ", ".join(
        f"{number:,}{more} {_singular(kind) if number == 1 else kind}"
        for kind, number in numbers.items()
    )


def _singular(kind: str) -> str:
    return kind[:-3] + "y" if kind.endswith("ies") else kind[:-1]


def _discard(text: str) -> None:
    """Print nothing: the stream is gone."""


def open_closed_streams() -> None:
    """Open the null device for standard streams that are missing at the start (`>&-`). Make the
    others accept any text: unknown characters are escaped.

    Otherwise they are None, and the next open file gets their number. Then a library's output on
    standard error would go to a peer, and a lifeline would be read as a node's input.

    A line that standard error can't take, for example on a full disk, is dropped, and does not
    change the exit status.
    """
    if sys.stderr is sys.__stderr__ and sys.stderr is not None:
        raw = io.BufferedWriter(Dropping(sys.stderr.fileno(), "w", closefd=False))
        sys.stderr = io.TextIOWrapper(raw, sys.stderr.encoding, line_buffering=True)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def draws(stream: TextIO) -> bool:
    """Whether `stream` can show colours and redrawn lines."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


class StreamWriter:
    """A writer to a stream, which bypasses its buffer if the stream has a descriptor.

    A thread that blocks in a buffered write holds the buffer's lock. Then the interpreter can't
    exit, since it flushes the standard streams. The stream belongs to the caller: if the caller
    closes it, the next open file gets the number of its descriptor. So this class uses a duplicate.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._encoding = "utf-8"
        self._descriptor = -1  # none
        try:
            stream.flush()
            self._descriptor = os.dup(stream.fileno())
            self._encoding = stream.encoding or "utf-8"
        except (OSError, ValueError, io.UnsupportedOperation):
            pass

    def write(self, text: str) -> None:
        """Write the whole text. Raises OSError or ValueError if the stream is gone."""
        if self._descriptor < 0:
            self._stream.write(text)
            self._stream.flush()
            return
        view = memoryview(text.encode(self._encoding, "backslashreplace"))
        while view:
            try:
                written = os.write(self._descriptor, view)
                view = view[written:]
            except BlockingIOError:  # another program made the terminal non-blocking
                waiting = select.poll()  # select() takes no descriptor above 1023
                waiting.register(self._descriptor, select.POLLOUT)
                waiting.poll()

    def close(self) -> None:
        """Stop writing; the stream stays open."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
