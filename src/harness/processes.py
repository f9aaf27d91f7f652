"""Programs in processes of their own: started, paused, killed, and what they print.

Each ends with the process that started it, however that one ends (common/signals.py).
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

from raftline.common.signals import tied

DEADLINE_S = 30.0
PAUSE_S = 0.05
FIRST_PORT, SLICE, SLICES = 20_000, 500, 24  # up to 32,000
_HELD: list[socket.socket] = []  # until this process ends

Found = TypeVar("Found")
Kind = TypeVar("Kind", bound="Process")


class Process:
    """One program, started as often as wanted. `lines` holds what it has printed so far.

    With a `console`, its output is appended to that file instead. Further arguments are those of
    subprocess.Popen.
    """

    def __init__(
        self, name: str, command: Sequence[str], console: Path | None = None, **popen: Any
    ) -> None:
        self.name = name
        self.lines: list[str] = []
        self.begin = 0  # the line at which the output since the last start begins
        self.process: subprocess.Popen[bytes] | None = None
        self.is_paused = False
        self.working_folder: Path | None = None
        self._command = list(command)
        self._console = console
        self._popen = popen
        self._changed = threading.Condition()
        self._reader: threading.Thread | None = None

    @property
    def command(self) -> list[str]:
        return self._command

    @property
    def running(self) -> subprocess.Popen[bytes]:
        """The process of the last start, whether it has ended or not."""
        assert self.process is not None, f"{self.name} was never started"
        return self.process

    @property
    def pid(self) -> int:
        return self.running.pid

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def said(self) -> list[str]:
        """The lines since the last start."""
        with self._changed:
            return self.lines[self.begin :]

    def take_lines(self) -> list[str]:
        """Hand over what was printed until now, so that a long run needs no more memory."""
        with self._changed:
            lines, self.lines, self.begin = self.lines, [], 0
        return lines

    def launch(self: Kind, *options: str, stdout: int | IO[bytes] | None = None) -> Kind:
        """Start the process without waiting for anything. The caller reads a `stdout` of its own.

        Raises:
            OSError: this machine lets it not start.
        """
        with self._changed:
            self.begin = len(self.lines)
        self.is_paused = False
        if stdout is not None:
            self._open(stdout, options)
        elif self._console is not None:
            with self._console.open("ab") as output:
                self._open(output, options)
        else:
            self._open(subprocess.PIPE, options)
            self._reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
            self._reader.start()
        return self

    def _open(self, stdout: int | IO[bytes], options: Sequence[str]) -> None:
        usual: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
        self.process = subprocess.Popen(
            [*self.command, *options],
            cwd=self.working_folder,
            stdout=stdout,
            **{**usual, **self._popen, **tied(self._popen.get("env"))},
        )

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for raw in process.stdout:
            with self._changed:
                self.lines.append(raw.decode("utf-8", "backslashreplace").rstrip("\n"))
                self._changed.notify_all()
        process.stdout.close()

    def wait_for_line(self, part: str, timeout_s: float = DEADLINE_S, since: int = 0) -> str:
        """Return the first line since the last start, from the `since`-th on, that holds `part`."""

        def found() -> str | None:
            return next((line for line in self.said[since:] if part in line), None)

        with self._changed:
            self._changed.wait_for(found, timeout_s)
        line = found()
        assert line is not None, f"{self.name} never said {part!r}; it said:\n" + self.transcript()
        return line

    def transcript(self) -> str:
        return "\n".join(self.said[-60:])

    def pause(self) -> None:
        """Have the process stand still, and wait until all its threads do."""
        self.send_signal(signal.SIGSTOP)
        if self.running.returncode is None:
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        self.is_paused = True

    def resume(self) -> None:
        self.send_signal(signal.SIGCONT)
        self.is_paused = False

    def send_signal(self, number: int = signal.SIGTERM) -> None:
        """Send the signal and wait for nothing."""
        self.running.send_signal(number)

    def terminate(self, number: int = signal.SIGTERM) -> int:
        """Send the signal and wait for the end; return the exit status."""
        self.send_signal(number)
        return self.ended()

    def kill(self) -> None:
        """End the process as kill -9 does, and wait until it is gone."""
        if self.is_running:
            self.terminate(signal.SIGKILL)
        self.is_paused = False

    def ended(self, timeout_s: float = DEADLINE_S) -> int:
        """Wait for the end of the process and of its output; return its exit status."""
        status = self.running.wait(timeout_s)
        if self._reader is not None:
            self._reader.join(timeout_s)
        return status

    def close(self) -> None:
        self.kill()


def end_all(processes: Iterable[Process], patience_s: float = 0.0) -> int:
    """End all that still run, and return how many did. With patience they are asked first, and
    killed only after it."""
    running = [process for process in processes if process.is_running]
    for process in running:
        process.send_signal(signal.SIGTERM if patience_s else signal.SIGKILL)
    until_s = time.monotonic() + patience_s
    for process in running:
        try:
            process.ended(max(0.0, until_s - time.monotonic()) if patience_s else DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
    return len(running)


def eventually(
    look: Callable[[], Found | None], what: str = "", timeout_s: float = DEADLINE_S
) -> Found:
    """Return the first true answer of `look`. Raises AssertionError if there is none in time."""
    pause = threading.Event()
    end_s = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < end_s, f"not within {timeout_s:g} s: {what or look}"
        pause.wait(PAUSE_S)
    return found


def _ports() -> Iterator[int]:
    """Yield ports that nobody listens on, each again only after some hundred others.

    They lie below the range from which the kernel takes the ports of outgoing connections: a
    node that dials a dead peer there may be connected to itself. Each process that asks has a
    slice of its own, also beside others on this machine: a node that is down for a while finds
    its port free again.
    """
    first = FIRST_PORT + SLICE * _own_slice()
    start = random.randrange(SLICE)
    for number in itertools.count():
        port = first + (start + number) % SLICE
        if is_free(port):
            yield port


def _own_slice() -> int:
    """Return the number of a slice that no other process has. This one has it until it ends: it
    holds the port that stands for the slice, just below all of them."""
    for number in range(SLICES):
        mark = socket.socket()
        try:
            mark.bind(("127.0.0.1", FIRST_PORT - 1 - number))
        except OSError:
            mark.close()
            continue
        _HELD.append(mark)
        return number
    return random.randrange(SLICES)


free_ports = _ports()


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of this machine now."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
            trial.listen()
        except (OSError, OverflowError):
            return False
    return True


def ports_in_a_row(count: int) -> int:
    """Return the first of so many such ports, one behind the other."""
    row: list[int] = []
    while len(row) < count:
        port = next(free_ports)
        row = [*row, port] if row and port == row[-1] + 1 else [port]
    return row[0]
