"""Child processes: start, pause and kill them, and read their output.

Each child ends with its parent, even if the parent is killed (common/process/signals.py).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

from .signals import tied

DEADLINE_S = 30.0
PIECE_BYTES = 4096  # pieces of a line, if the output is bounded
WAIT_S = 60.0  # for a line that comes soon, unless the machine is very busy
SERVER = Path(__file__).parents[2] / "server.py"

Kind = TypeVar("Kind", bound="Process")


class NotAsExpected(Exception):
    """A program was late, or printed a forbidden line."""


class Process:
    """One program, which can be started again. `lines` holds its output.

    With a `console`, the output is appended to that file instead. With `kept`, only about that many
    of the last lines are kept, and long lines are split into pieces. Further arguments go to
    subprocess.Popen.
    """

    popen: type[subprocess.Popen[bytes]] = subprocess.Popen

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        console: Path | None = None,
        kept: int | None = None,
        **popen: Any,
    ) -> None:
        self.name = name
        self.lines: list[str] = []
        self.begin = 0  # the first line since the last start
        self.process: subprocess.Popen[bytes] | None = None
        self.is_paused = False
        self.working_folder: Path | None = None
        self._command = list(command)
        self._console = console
        self._kept = kept
        self._popen = popen
        self._changed = threading.Condition()
        self._reader: threading.Thread | None = None
        self._has_ended_output = False

    @property
    def command(self) -> list[str]:
        return self._command

    @property
    def running(self) -> subprocess.Popen[bytes]:
        """The last started process, which may have ended."""
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
        """The output lines since the last start."""
        with self._changed:
            return self.lines[self.begin :]

    def take_lines(self) -> list[str]:
        """Return the lines so far and drop them, so that a long run does not use more memory."""
        with self._changed:
            lines, self.lines, self.begin = self.lines, [], 0
        return lines

    def launch(self: Kind, *options: str, stdout: int | IO[bytes] | None = None) -> Kind:
        """Start the process without waiting for anything. The caller reads the `stdout` that it
        passes.

        Raises:
            OSError: the system can't start it.
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
        self.process = self.popen(
            [*self.command, *options],
            cwd=self.working_folder,
            stdout=stdout,
            **{**usual, **self._popen, **tied(self._popen.get("env"))},
        )
        with self._changed:  # after a reader of the former process, which may be late
            self._has_ended_output = False

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        while raw := process.stdout.readline(-1 if self._kept is None else PIECE_BYTES):
            with self._changed:
                self.lines.append(raw.decode("utf-8", "backslashreplace").rstrip("\n"))
                if self._kept is not None and len(self.lines) > 2 * self._kept:
                    dropped = len(self.lines) - self._kept
                    del self.lines[:dropped]
                    self.begin = max(0, self.begin - dropped)
                self._changed.notify_all()
        process.stdout.close()
        with self._changed:
            self._has_ended_output = process is self.process
            self._changed.notify_all()

    def wait_for_line(self, part: str, timeout_s: float = WAIT_S, since: int = 0) -> str:
        """Return the first line since the last start, from line `since` on, that contains `part`.

        Raises:
            NotAsExpected: there is no such line, and the time is over or the process has ended.
        """

        def found() -> str | None:
            return next((line for line in self.said[since:] if part in line), None)

        with self._changed:
            self._changed.wait_for(lambda: found() or self._has_ended_output, timeout_s)
        line = found()
        if line is None:
            raise NotAsExpected(f"{self.name} never printed {part!r}, but:\n{self.transcript()}")
        return line

    def transcript(self) -> str:
        return "\n".join(self.said[-60:])

    def pause(self) -> None:
        """Pause the process, and wait until all its threads have stopped."""
        self.send_signal(signal.SIGSTOP)
        if self.running.returncode is None:
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        self.is_paused = True

    def resume(self) -> None:
        self.send_signal(signal.SIGCONT)
        self.is_paused = False

    def send_signal(self, number: int = signal.SIGTERM) -> None:
        """Send a signal without waiting."""
        self.running.send_signal(number)

    def terminate(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end and return the exit status."""
        self.send_signal(number)
        return self.ended()

    def kill(self) -> None:
        """Kill the process as kill -9 does, and wait until it is gone."""
        if self.is_running:
            self.terminate(signal.SIGKILL)
        self.is_paused = False

    def ended(self, timeout_s: float = DEADLINE_S) -> int:
        """Wait for the end of the process and of its output. Return its exit status."""
        status = self.running.wait(timeout_s)
        if self._reader is not None:
            self._reader.join(timeout_s)
        return status

    def close(self) -> None:
        self.kill()


class ServerProcess(Process):
    """One node: `server.py NAME PORT --dir FOLDER OPTIONS`, over all its starts."""

    def __init__(
        self,
        name: str,
        port: int,
        folder: Path,
        options: Sequence[str] = (),
        console: Path | None = None,
        **popen: Any,
    ) -> None:
        super().__init__(name, (), console, **popen)
        self.port = port
        self.folder = folder
        self.options = list(options)
        self.program = [sys.executable, str(SERVER)]
        self.where = ["--dir", str(folder)]

    @property
    def arguments(self) -> list[str]:
        return [self.name, str(self.port), *self.where, *self.options]

    @property
    def command(self) -> list[str]:
        return [*self.program, *self.arguments]


def end_all(processes: Iterable[Process], patience_s: float = 0.0) -> int:
    """End all processes that still run, and return their number. With `patience_s`, they get
    SIGTERM first, and are killed after that time."""
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
