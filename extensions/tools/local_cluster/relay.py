"""The output of nodes: interleaved on one terminal, or in a file for each node."""

from __future__ import annotations

import contextlib
import os
import select
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from raftline.common.config import ConfigError
from raftline.common.process.console import StreamWriter, safe_line
from raftline.common.process.private_file import private

from ..colours import SIX, coloured, has_colours

LINE_BYTES_MAX = 4096
FINISH_SECONDS_MAX = 1.0
SIGHT_LINES = 40  # about a screen
LAST_LINES = 5
LAST_BYTES = 4096


class Relay:
    """Shows the nodes' lines, each marked `s1 | `, or writes them to `folder`/NAME.console.

    The file is emptied at each start: it holds the node's output since its last start.
    """

    def __init__(self, names: Sequence[str], folder: Path | None) -> None:
        self._folder = folder
        self._write = StreamWriter(sys.stdout).write
        self._lock = threading.Lock()  # one line at a time
        self._gone = False  # the reader is gone
        self._kept = ""  # a line that is repeated
        self._since = 0  # lines after it
        self._readers: dict[str, threading.Thread] = {}
        width = max(len(name) for name in names)
        colours = SIX if has_colours(sys.stdout) else ("",)
        self._marks = {
            name: (f"{name.ljust(width)} | ", colours[n % len(colours)])
            for n, name in enumerate(names)
        }

    def watch_reader(self, tell: Callable[[], None]) -> None:
        """Call `tell`, from a thread, when the reader of our output is gone.

        The next printed line would reveal it as well, but idle nodes print nothing.
        """
        try:
            kind = os.fstat(sys.stdout.fileno()).st_mode
        except (OSError, ValueError):
            return
        if stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind):
            threading.Thread(
                target=_wait_for_reader, args=(tell,), name="watches the reader", daemon=True
            ).start()

    def say(self, text: str) -> None:
        """Print a line of this program."""
        self._print(safe_line(text) + "\n")

    def keep_in_sight(self, text: str) -> None:
        """Print a line, and repeat it whenever so many others were printed after it."""
        self._kept = safe_line(text) + "\n"
        self._print(self._kept)

    @contextlib.contextmanager
    def output_for(self, name: str) -> Iterator[int | IO[bytes]]:
        """Yield the standard output for the process of `name`.

        Raises:
            ConfigError: the file for it can't be written.
        """
        if self._folder is None:
            yield subprocess.PIPE
            return
        path = self._folder / f"{name}.console"
        try:
            file = open(path, "wb", opener=private)  # noqa: SIM115
        except OSError as error:
            raise ConfigError(f"{path}: can't be written: {error.strerror}") from error
        with file:
            yield file

    def follow(self, name: str, lines: IO[bytes] | None) -> None:
        """Show the output of a process until its end."""
        if lines is None:
            return
        reader = threading.Thread(
            target=self._show, args=(name, lines), name=f"shows {name}", daemon=True
        )
        reader.start()
        self._readers[name] = reader  # now, since Ctrl-C may come next: only a running thread ends

    def _show(self, name: str, lines: IO[bytes]) -> None:
        with lines:
            while line := lines.readline(LINE_BYTES_MAX):
                self._print_of(name, line.decode("utf-8", "surrogateescape").rstrip("\r\n"))

    def finish(self, name: str) -> None:
        """Show the remaining output of an ended process, for a second at most."""
        if name in self._readers:
            self._readers[name].join(FINISH_SECONDS_MAX)

    def show_last_lines(self, name: str) -> None:
        """Show the end of a node's file. On a terminal, its lines were already shown."""
        if self._folder is None:
            return
        with (self._folder / f"{name}.console").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LAST_BYTES))
            text = file.read().decode("utf-8", "surrogateescape")
        for line in text.splitlines()[-LAST_LINES:]:
            self._print_of(name, line)

    def _print_of(self, name: str, line: str) -> None:
        mark, colour = self._marks[name]
        self._print(coloured(mark + safe_line(line), colour) + "\n")

    def _print(self, text: str) -> None:
        with self._lock:
            if self._gone:
                return
            try:
                self._write(text)
                self._since = 0 if text == self._kept else self._since + 1
                if self._kept and self._since == SIGHT_LINES:
                    self._write(self._kept)
                    self._since = 0
            except (OSError, ValueError):  # keep reading, or the nodes would block
                self._gone = True


def _wait_for_reader(tell: Callable[[], None]) -> None:
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # an error is reported in any case
    poll.poll()
    tell()
