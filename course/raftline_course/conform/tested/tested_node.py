"""The node under test as a process: started by its command, killed, and started again."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from raftline.common.config import FILE_NAME
from raftline_course.conform.played.wires import HOST
from raftline_course.conform.tested.machine import busyness
from raftline_course.conform.verdicts import Elections
from raftline_testing.nodes.processes import Process, free_ports

START_S = 20.0
SHOWN = 20  # lines of its output
CHECK_S = 0.02


class NodeNotStarted(Exception):
    """The node did not serve its port; the message has its output."""


class NoCommand(Exception):
    """A command that can't be run at all; the text is one line for the user."""


@dataclass(frozen=True)
class KitSettings:
    """The user's settings for the node under test."""

    command: tuple[str, ...]
    others: tuple[str, ...] = ()  # the command of the other nodes of a mixed cluster
    election_ms: int = 1000
    elections: Elections = field(default_factory=Elections, compare=False)

    @property
    def election_s(self) -> float:
        """The longest time until a node without a leader becomes a candidate."""
        return self.election_ms / 1000

    @property
    def patience_s(self) -> float:
        """The present time limit, after which an expected event is missing."""
        return (6.0 + 6 * self.election_s) * busyness()


_PORTS = threading.Lock()


def ports_of(size: int) -> dict[str, int]:
    """Return names and free ports; checks in other threads get theirs."""
    with _PORTS:
        return {f"s{number}": next(free_ports) for number in range(1, size + 1)}


def filled(command: Sequence[str], name: str, port: int, folder: Path) -> list[str]:
    """Return a command with the node's name, port and folder filled in."""
    places = {"{name}": name, "{port}": str(port), "{dir}": str(folder)}
    words = []
    for word in command:
        for place, value in places.items():
            word = word.replace(place, value)
        words.append(word)
    return words


class TestedNode:
    """One node, over all its starts in one folder."""

    def __init__(
        self,
        name: str,
        port: int,
        folder: Path,
        members: Mapping[str, int],
        command: Sequence[str],
        prefix: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.port = port
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        lines = [f"{member} {HOST} {at}\n" for member, at in members.items()]
        (folder / FILE_NAME).write_text("".join(lines))
        words = [*prefix, *filled(command, name, port, folder)]
        self.process = Process(name, words, kept=SHOWN)

    def start(self) -> None:
        """Start it and wait until its port takes a connection."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start it.

        Raises:
            NoCommand: no such program exists.
        """
        try:
            self.process.launch()
        except OSError as error:
            raise NoCommand(f"{self.process.command[0]}: {error.strerror}") from None

    def wait(self) -> None:
        """Wait until its port takes a connection.

        Raises:
            NotStarted: it ended or never listened.
        """
        end_s = time.monotonic() + START_S * busyness()
        while not self.listens():
            if not self.process.is_running or time.monotonic() > end_s:
                self.process.kill()
                self.process.ended()
                raise NodeNotStarted(f"{self.name} takes no connection. It printed:\n{self.said()}")
            time.sleep(CHECK_S)

    def listens(self) -> bool:
        """Return whether its port takes a connection; the connection sends nothing and ends."""
        try:
            socket.create_connection((HOST, self.port), 1.0).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """End it as kill -9 does."""
        self.process.kill()

    @property
    def is_running(self) -> bool:
        """Whether its process is running."""
        return self.process.is_running

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self.process.running.poll()

    def said(self) -> str:
        """Return the end of its output."""
        return "\n".join(self.process.said[-SHOWN:])

    def writes_through(self) -> bool:
        """Return whether it has a file open whose writes are synchronous."""
        with contextlib.suppress(OSError):
            for path in Path(f"/proc/{self.process.pid}/fdinfo").iterdir():
                flags = next(line for line in path.read_text().splitlines() if "flags" in line)
                if int(flags.split()[1], 8) & os.O_DSYNC:
                    return True
        return False

    def forget(self) -> None:
        """Lose the disk: delete every file except the configuration."""
        for path in self.folder.iterdir():
            if path.name != FILE_NAME:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
