"""The processes of a trial's servers: their starts, kills, pauses and ends."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from raftline.clients.connections.client_access import ClientAccess
from raftline.common import config
from raftline.common.address import Address
from raftline.tools.local_cluster.local_cluster import how_it_ended
from raftline.tools.status import status
from raftline_course.trial.trial_messages import node_name
from raftline_testing.nodes.cluster import NodeProcess
from raftline_testing.nodes.processes import end_all, is_free
from raftline_testing.nodes.processes import free_ports as any_ports
from raftline_testing.nodes.proxy import Network

UP_SECONDS_MAX = 60.0
ASK_SECONDS_MAX = 1.0
ASK_AGAIN_S = 0.02
BROKEN_INVARIANT = 70  # the exit status of a node with a broken invariant
_CONSOLE_BYTES = 20_000  # at the end of a console, with a server's last lines

# Ctrl-C at the terminal is only for us. The servers have no separate session: when we end, the
# kernel wakes a stopped server (SIGSTOP) in our session, so that it, too, sees the lifeline's end.
_A_GROUP_OF_ITS_OWN: dict[str, Any] = (
    {"process_group": 0} if sys.version_info >= (3, 11) else {"preexec_fn": os.setpgrp}
)


class ServersNotStarted(Exception):
    """A server that did not start. The message is one line for the user."""


class Health(Enum):
    """The fate of a server, and its cause."""

    UP = "up"
    PAUSED = "paused"
    FAILED = "failed"  # killed by the trial
    CRASHED = "crashed"  # by itself, or killed from outside


class Servers:
    """One process for each id, `s0000` for 0000, each with its own folder."""

    def __init__(
        self, ports: Mapping[str, int], network: Network, program: Path, folder: Path
    ) -> None:
        self.health: dict[str, Health] = {}
        self.crashes: list[tuple[str, int]] = []  # (id, exit status)
        self.failed: list[str] = []  # servers that we took down, the longest down first
        self._nodes: dict[str, NodeProcess] = {}
        for server in ports:
            own = folder / server
            try:
                own.mkdir(parents=True, exist_ok=True)
                members = [f"{node_name(a)} localhost {network.port(server, a)}\n" for a in ports]
                text = config.HEADER + "".join(members)
                (own / config.FILE_NAME).write_text(text, encoding="utf-8")
            except OSError as error:
                what = f"{own}: the server's files can't be written"
                raise ServersNotStarted(f"{what}: {error.strerror}") from error
            console = own / "console"
            name, port = node_name(server), ports[server]
            node = NodeProcess(name, port, own, (), console, **_A_GROUP_OF_ITS_OWN)
            node.program = [sys.executable, str(program)]
            self._nodes[server] = node

    @property
    def active(self) -> list[str]:
        """The servers whose process is running and not paused."""
        return [server for server, health in self.health.items() if health is Health.UP]

    def start(self) -> None:
        """Start all, and return once all answer. Raises ServersNotStarted."""
        for server in self._nodes:
            self.launch(server)
        until_s = time.monotonic() + UP_SECONDS_MAX
        waiting = list(self._nodes)
        while waiting := [server for server in waiting if not self._answers(server)]:
            if time.monotonic() > until_s:
                last_line = self.last_line(waiting[0])
                late = f"{waiting[0]} gave no answer in {UP_SECONDS_MAX:g} s"
                raise ServersNotStarted(f"{late}; {last_line}")
            time.sleep(ASK_AGAIN_S)  # servers that have just started need the processor

    def launch(self, server: str) -> None:
        """Start the process of one server, on its existing files. Raises ServersNotStarted."""
        try:
            self._nodes[server].launch()
        except OSError as error:
            raise ServersNotStarted(f"{server} can't be started: {error.strerror}") from error
        self.health[server] = Health.UP
        if server in self.failed:
            self.failed.remove(server)

    def _answers(self, server: str) -> bool:
        node = self._nodes[server]
        if not node.is_running:
            raise ServersNotStarted(
                f"{server} ended ({how_it_ended(node.running.returncode)}) before it had answered "
                f"once; {self.last_line(server)}"
            )
        address = Address("127.0.0.1", node.port)
        return status.ask(node.name, address, ClientAccess(), ASK_SECONDS_MAX).answer is not None

    def last_line(self, server: str) -> str:
        """Return the last line that a server printed, in ASCII: its last `[!]` if there is one,
        which names the fault."""
        raw = (self._nodes[server].folder / "console").read_bytes()[-_CONSOLE_BYTES:]
        lines = raw.decode("ascii", "backslashreplace").splitlines()
        lines = [line for line in lines if line.startswith("[!]")] or lines
        return f"its last line: {lines[-1]}" if lines else "it said nothing"

    def console_size(self, server: str) -> int:
        """Return how many bytes a server has printed."""
        try:
            return (self._nodes[server].folder / "console").stat().st_size
        except OSError:
            return 0

    def console_lines(self, server: str, start: int, end: int) -> list[str]:
        """Return the lines between two sizes of a console."""
        try:
            with (self._nodes[server].folder / "console").open("rb") as file:
                file.seek(start)
                raw = file.read(max(0, min(end - start, _CONSOLE_BYTES)))
        except OSError:
            return []
        return raw.decode("utf-8", "backslashreplace").splitlines()

    def fail(self, server: str) -> None:
        """Kill the process as kill -9 does, and wait until it is gone."""
        self.health[server] = Health.FAILED
        self.failed.append(server)
        self._nodes[server].kill()

    def pause(self, server: str) -> None:
        self.health[server] = Health.PAUSED
        self._nodes[server].pause()

    def resume(self, server: str) -> bool:
        """Resume a paused server; return whether it was paused."""
        if self.health[server] is not Health.PAUSED:
            return False
        self.health[server] = Health.UP
        self._nodes[server].resume()
        return True

    def newly_crashed(self) -> list[tuple[str, int]]:
        """Return the servers that have ended by themselves since the last look, each with its exit
        status."""
        crashed = []
        for server, health in self.health.items():
            code = self._nodes[server].running.poll()
            if code is not None and health in (Health.UP, Health.PAUSED):
                crashed.append((server, code))
        for server, _ in crashed:
            self.health[server] = Health.CRASHED
        self.crashes += crashed
        return crashed

    def process_id(self, server: str) -> int:
        return self._nodes[server].pid

    def stop(self) -> None:
        """End every running process."""
        end_all(self._nodes.values())


def free_ports(names: Sequence[str], first: int | None) -> dict[str, int]:
    """Return a free port for each name: from `first` on, or any port, which no other trial takes
    until this process ends.

    Raises:
        NotStarted: one of them is in use.
    """
    if first is None:
        return {name: next(any_ports) for name in names}
    ports = range(first, first + len(names))
    used_ports = [port for port in ports if not is_free(port)]
    if used_ports:
        raise ServersNotStarted(f"port {used_ports[0]} is in use; take others with --base-port")
    return dict(zip(names, ports, strict=True))
