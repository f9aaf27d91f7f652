"""The lab's programs as a student starts them, and what they print."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from labs.failures.actions import Lab
from labs.leftovers import Scene
from raftline.common.config import FILE_NAME, Address
from raftline.common.lifeline import Lifeline
from tests.processes.wire import DEADLINE_S, free_ports

HERE = Path(__file__).resolve().parent


class Console:
    """A process of the lab, and what it has printed."""

    def __init__(self, *arguments: str) -> None:
        self.lines: list[str] = []
        self._lifeline = Lifeline()  # it ends when this process does, however that ends
        self._changed = threading.Condition()
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # so that Ctrl-C can be given to it alone
            env=self._lifeline.environment(),
            pass_fds=[self._lifeline.reading_end],
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()

    def wait_for(self, part: str) -> str:
        """Return the first line that holds `part`, once it is there."""

        def found() -> str | None:
            return next((line for line in self.lines if part in line), None)

        with self._changed:
            self._changed.wait_for(found, DEADLINE_S)
        line = found()
        if line is None:
            raise AssertionError(f"{part!r} was never said, but: {self.lines[-12:]}")
        return line

    def press_ctrl_c(self) -> int:
        os.killpg(self._process.pid, signal.SIGINT)
        return self._process.wait(DEADLINE_S)

    def close(self) -> None:
        if self._process.poll() is None:  # once it was waited for, its number may be another's
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(DEADLINE_S)
        self._lifeline.close()


@contextlib.contextmanager
def as_in_the_sheet() -> Iterator[tuple[dict[str, Console], Path, Lab]]:
    """Start three nodes with node.py, as a student does, with the course's words."""
    with Scene() as scene, contextlib.ExitStack() as stack:
        members = {f"node{n}": Address("localhost", next(free_ports)) for n in (1, 2, 3)}
        file = scene.folder / FILE_NAME
        file.write_text("".join(f"{name} {a.host} {a.port}\n" for name, a in members.items()))
        consoles = {}
        for name in members:
            # At this pace nobody loses its place who stands still for a second, on a busy machine.
            options = ("--config", str(file), "--course-words", "--pace", "class")
            console = Console(str(HERE / "node.py"), name, *options)
            stack.callback(console.close)
            consoles[name] = console
        yield consoles, file, Lab(members, say=lambda _: None)


def client(file: Path, typed: str) -> str:
    """Return what the client's screen showed for these lines."""
    lifeline = Lifeline()
    try:
        ended = subprocess.run(
            [sys.executable, str(HERE / "client.py"), "--config", str(file)],
            input=typed,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
            check=False,
            env=lifeline.environment(),
            pass_fds=[lifeline.reading_end],
        )
    finally:
        lifeline.close()
    if ended.returncode:
        raise AssertionError(f"client.py ended with {ended.returncode}: {ended.stderr}")
    return ended.stdout
