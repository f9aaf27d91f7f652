"""One real node in a process of its own: start, ask, pause, kill, and what it prints."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from raftline.common.lifeline import Lifeline
from tests.processes.wire import DEADLINE_S, Conversation, eventually

SERVER = Path(__file__).resolve().parents[2] / "src" / "server.py"
STARTED = "[*] Server started on"


class Node:
    """One node over all its lives; `lines` holds what it has printed so far."""

    def __init__(self, name: str, port: int, folder: Path, options: Sequence[str]) -> None:
        self.name = name
        self.host = "localhost"
        self.port = port
        self.folder = folder
        self.options = list(options)
        self.program = [sys.executable, str(SERVER)]
        self.where = ["--dir", str(folder)]
        self.working_folder: Path | None = None
        self.environment: dict[str, str] = {}
        self.lines: list[str] = []
        self.begin = 0  # where the lines of this life begin
        self.process: subprocess.Popen[bytes] | None = None
        self.is_paused = False
        self._asked: Conversation | None = None
        self._changed = threading.Condition()
        self._reader: threading.Thread | None = None
        self._lifeline = Lifeline()  # the node ends when this process does, however it ends

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def said(self) -> list[str]:
        """The lines of this life."""
        with self._changed:
            return self.lines[self.begin :]

    def take_lines(self) -> list[str]:
        """Hand over what was printed until now, so that a long life needs no more memory."""
        with self._changed:
            lines, self.lines, self.begin = self.lines, [], 0
        return lines

    def launch(self, *options: str) -> Node:
        """Start the process without waiting for anything."""
        with self._changed:
            self.begin = len(self.lines)
        self.process = subprocess.Popen(
            [*self.program, self.name, str(self.port), *self.where, *self.options, *options],
            cwd=self.working_folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**self._lifeline.environment(), **self.environment},
            pass_fds=[self._lifeline.reading_end],
        )
        self._reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self._reader.start()
        return self

    def start(self, *options: str) -> Node:
        """Start the process and wait until it serves."""
        self.launch(*options).wait_for_line(STARTED)
        return self

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for raw in process.stdout:
            with self._changed:
                self.lines.append(raw.decode("utf-8", "backslashreplace").rstrip("\n"))
                self._changed.notify_all()
        process.stdout.close()

    def wait_for_line(self, part: str, timeout_s: float = DEADLINE_S, since: int = 0) -> str:
        """Return the first line of this life, from the `since`-th on, that holds `part`."""

        def found() -> str | None:
            return next((line for line in self.said[since:] if part in line), None)

        with self._changed:
            self._changed.wait_for(found, timeout_s)
        line = found()
        assert line is not None, f"{self.name} never said {part!r}; it said:\n" + self.transcript()
        return line

    def transcript(self) -> str:
        return "\n".join(self.said[-60:])

    def connect(self, timeout_s: float = DEADLINE_S) -> Conversation:
        return Conversation(self.port, timeout_s, self.host)

    def ask(self, line: str | bytes) -> str:
        """Return the reply to one line on a connection of its own."""
        with self.connect() as conversation:
            return conversation.ask(line)

    def ask_as_peer(self, line: str) -> str:
        """Return the reply to a line in a peer's name, once that peer has fallen silent."""

        def reply() -> str:
            text = self.ask(line)
            return "" if "speaks on another connection" in text else text

        return eventually(reply, f"an answer to {line[:80]}")

    def status(self) -> dict[str, Any]:
        """Return what the node says of itself; {} if it can't be asked."""
        if not self.is_running or self.is_paused:
            return {}
        try:  # on one connection: each new one is a line on the node's console
            self._asked = self._asked or self.connect()
            facts: dict[str, Any] = json.loads(self._asked.ask("status").partition(": ")[2])
        except (OSError, ValueError):
            self._asked = None
            return {}
        return facts

    def pause(self) -> None:
        """Have the process stand still, and wait until all its threads do."""
        self._signal(signal.SIGSTOP)
        assert self.process is not None
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        self.is_paused = True

    def resume(self) -> None:
        self._signal(signal.SIGCONT)
        self.is_paused = False

    def kill(self) -> None:
        """End the process as kill -9 does, and wait until it is gone."""
        if self.is_running:
            self._signal(signal.SIGKILL)
            self.ended()
        self.is_paused = False

    def terminate(self, number: int = signal.SIGTERM) -> int:
        self._signal(number)
        return self.ended()

    def ask_to_stop(self, number: int = signal.SIGTERM) -> None:
        """Send the signal and wait for nothing."""
        self._signal(number)

    def ended(self, timeout_s: float = DEADLINE_S) -> int:
        """Wait for the end of the process and of its output; return its exit status."""
        assert self.process is not None
        assert self._reader is not None
        status = self.process.wait(timeout_s)
        self._reader.join(timeout_s)
        if self._asked is not None:
            self._asked.close()
        self._asked = None
        return status

    def close(self) -> None:
        self.kill()
        if self._asked is not None:
            self._asked.close()
        self._lifeline.close()

    def _signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)
