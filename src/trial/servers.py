"""The processes of a trial's servers: started, killed, paused, and seen when they end."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from raftline.common import config
from raftline.common.address import Address
from raftline.common.lifeline import Lifeline
from raftline.tools import status
from raftline.tools.cluster import how_it_ended
from raftline.trial.messages import node_name
from raftline.trial.network import Network

UP_SECONDS_MAX = 60.0
ASK_SECONDS_MAX = 1.0
ASK_AGAIN_S = 0.02
BROKEN_INVARIANT = 70  # what a node ends with whose own invariant broke
# Below the ports that the kernel gives to outgoing connections, and apart from our other tools'.
PORTS = range(14_000, 19_000)
_CONSOLE_BYTES = 20_000  # of its end, in which a server's last words are
_CLAIMS: list[socket.socket] = []  # to ports, until this process ends

# Ctrl-C at the terminal is for us alone. Not a session of its own: within ours, when we are gone,
# the kernel wakes a server that stands still (SIGSTOP), so that it, too, sees the lifeline's end.
_A_GROUP_OF_ITS_OWN: dict[str, Any] = (
    {"process_group": 0} if sys.version_info >= (3, 11) else {"preexec_fn": os.setpgrp}
)


class NotStarted(Exception):
    """A server did not come up. The message is one line for the user."""


class Health(Enum):
    """What has become of a server, and by whom."""

    UP = "up"
    PAUSED = "paused"
    FAILED = "failed"  # by the trial
    CRASHED = "crashed"  # by itself, or by somebody else


class Servers:
    """One process for each id, `s0000` for 0000, with a folder of its own each."""

    def __init__(
        self, ports: Mapping[str, int], network: Network, program: Path, folder: Path
    ) -> None:
        self.health: dict[str, Health] = {}
        self.crashes: list[tuple[str, int]] = []  # (id, exit status)
        self.failed: list[str] = []  # those that are down by our doing, longest first
        self._ports = ports
        self._program = program
        self._folder = folder
        self._lifeline = Lifeline()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        for server in ports:
            lines = [
                f"{node_name(other)} localhost "
                f"{ports[other] if other == server else network.port(server, other)}\n"
                for other in ports
            ]
            text = config.HEADER + "".join(lines)
            try:
                (folder / server).mkdir(parents=True, exist_ok=True)
                (folder / server / config.FILE_NAME).write_text(text, encoding="utf-8")
            except OSError as error:
                what = f"{folder / server}: the server's files can't be written"
                raise NotStarted(f"{what}: {error.strerror}") from error

    @property
    def active(self) -> list[str]:
        """The servers whose process runs and is not paused."""
        return [server for server, health in self.health.items() if health is Health.UP]

    def start(self) -> None:
        """Start all, and return once all answer. Raises NotStarted."""
        for server in self._ports:
            self.launch(server)
        until_s = time.monotonic() + UP_SECONDS_MAX
        waiting = list(self._ports)
        while waiting := [server for server in waiting if not self._answers(server)]:
            if time.monotonic() > until_s:
                said = self.last_line(waiting[0])
                raise NotStarted(f"{waiting[0]} gave no answer in {UP_SECONDS_MAX:g} s; {said}")
            time.sleep(ASK_AGAIN_S)  # those that have just begun want the processor

    def launch(self, server: str) -> None:
        """Start the process of one server, from the files that it has. Raises NotStarted."""
        try:
            with (self._folder / server / "console").open("ab") as output:
                self._processes[server] = subprocess.Popen(
                    [sys.executable, str(self._program), node_name(server),
                     str(self._ports[server]), "--dir", str(self._folder / server)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=[self._lifeline.reading_end],
                    env=self._lifeline.environment(),
                    **_A_GROUP_OF_ITS_OWN,
                )  # fmt: skip
        except OSError as error:
            raise NotStarted(f"{server} can't be started: {error.strerror}") from error
        self.health[server] = Health.UP
        if server in self.failed:
            self.failed.remove(server)

    def _answers(self, server: str) -> bool:
        process = self._processes[server]
        if process.poll() is not None:
            raise NotStarted(
                f"{server} ended ({how_it_ended(process.returncode)}) before it had answered once;"
                f" {self.last_line(server)}"
            )
        address = Address("127.0.0.1", self._ports[server])
        return status.ask(node_name(server), address, ASK_SECONDS_MAX).answer is not None

    def last_line(self, server: str) -> str:
        """Return what a server said last, in ASCII; before all else its last `[!]`, which says what
        is wrong."""
        raw = (self._folder / server / "console").read_bytes()[-_CONSOLE_BYTES:]
        lines = raw.decode("ascii", "backslashreplace").splitlines()
        lines = [line for line in lines if line.startswith("[!]")] or lines
        return f"its last line: {lines[-1]}" if lines else "it said nothing"

    def fail(self, server: str) -> None:
        """Kill the process as kill -9 does, and wait until it is gone."""
        self.health[server] = Health.FAILED
        self.failed.append(server)
        self._processes[server].kill()
        self._processes[server].wait()

    def pause(self, server: str) -> None:
        self.health[server] = Health.PAUSED
        self._processes[server].send_signal(signal.SIGSTOP)

    def resume(self, server: str) -> bool:
        """Let a paused server go on; return whether it was one."""
        if self.health[server] is not Health.PAUSED:
            return False
        self.health[server] = Health.UP
        self._processes[server].send_signal(signal.SIGCONT)
        return True

    def newly_crashed(self) -> list[tuple[str, int]]:
        """Return the servers that have ended since the last look, and not by our doing, each with
        its exit status."""
        found = []
        for server, health in self.health.items():
            code = self._processes[server].poll()
            if code is not None and health in (Health.UP, Health.PAUSED):
                found.append((server, code))
        for server, _ in found:
            self.health[server] = Health.CRASHED
        self.crashes += found
        return found

    def process_id(self, server: str) -> int:
        return self._processes[server].pid

    def stop(self) -> None:
        """End every process that still runs; none is left."""
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()
        self._lifeline.close()


def free_ports(names: Sequence[str], first: int | None) -> dict[str, int]:
    """Return a port for each name on which nobody listens: from `first` on, or any, which no other
    trial takes for free until this process ends.

    Raises:
        NotStarted: one of them is in use, or none is free.
    """
    if first is not None:
        ports = range(first, first + len(names))
        taken = [port for port in ports if not _is_free(port)]
        if taken:
            raise NotStarted(f"port {taken[0]} is in use; take others with --base-port")
        return dict(zip(names, ports, strict=True))
    start = random.choice(PORTS)
    circle = [*range(start, PORTS.stop), *range(PORTS.start, start)]
    free = (port for port in circle if _claim(port))
    found = dict(zip(names, free))  # noqa: B905 (as many as there are names)
    if len(found) < len(names):
        raise NotStarted(f"no port from {PORTS.start} to {PORTS.stop} is free")
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
            trial.listen()
        except (OSError, OverflowError):
            return False
    return True


def _claim(port: int) -> bool:
    """Return whether this port, which nobody had, is ours now: others who look find it taken, and
    only a server, which may take what is not listened on, gets it all the same."""
    claim = socket.socket()
    try:
        claim.bind(("127.0.0.1", port))
    except OSError:
        claim.close()
        return False
    claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _CLAIMS.append(claim)
    return True
