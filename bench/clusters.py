"""The base of every system under measurement: processes in a folder, started and ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "testing"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # works uninstalled

from generator import BUILD, BenchError, Load, Run, need
from raftline_testing.nodes.processes import Process, end_all

Self = TypeVar("Self", bound="Cluster")
Found = TypeVar("Found")
START_S = 60
FILL_TRIES = 3
RELAYS = 20  # from a node's port to the port of the relay for its peers


class Cluster(ABC):
    """Processes of one system, number 0 to count-1, in a fresh folder that is removed with them."""

    name = ""
    protocol = "line"
    spoken: tuple[str, ...] = ()  # further arguments of the generator: TLS, a login

    def __init__(self, parent: Path, base_port: int, count: int = 3, delay_ms: float = 0) -> None:
        """Start the processes; `delay_ms` is the delay of messages between the nodes, in each
        direction."""
        parent.mkdir(parents=True, exist_ok=True)
        self._temporary = tempfile.TemporaryDirectory(
            prefix=f"{self.name}-",
            dir=parent.resolve(),  # the nodes start in another folder
            ignore_cleanup_errors=True,  # a last write may come
        )
        self.folder = Path(self._temporary.name)
        self.base_port, self.count, self.delay_ms = base_port, count, delay_ms
        self._relays: list[Process] = []
        self.processes: dict[int, Process] = {}

    @abstractmethod
    def command(self, number: int) -> list[str]:
        """Return the command line of a process."""

    @abstractmethod
    def leader(self) -> int | None:
        """Return the number of a leader that can serve at once, or None."""

    @abstractmethod
    def fdatasyncs(self) -> int | None:
        """Return the number of log syncs of all processes together; None: not reported."""

    def port(self, number: int) -> int:
        """Return the port for clients."""
        return self.base_port + number

    def listens(self, number: int) -> int:
        """Return the port on which it listens for peers."""
        return self.port(number)

    def peer_port(self, number: int) -> int:
        """Return the port that its peers use: the relay's port if there is a delay."""
        return self.port(number) + RELAYS if self.delay_ms else self.listens(number)

    def _start_relay(self) -> None:
        need(BUILD / "delay")
        pairs = [f"{self.peer_port(n)}:{self.listens(n)}" for n in range(self.count)]
        command = [str(BUILD / "delay"), str(self.delay_ms), *pairs]
        self._relays.append(Process("delay", command).launch())

    def __enter__(self: Self) -> Self:
        try:
            if self.delay_ms:
                self._start_relay()
            for number in range(self.count):
                self.start(number)
            self.wait_for_leader()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self, number: int) -> None:
        process = Process(
            f"{self.name} {number}",
            self.command(number),
            self.output(number),
            stdin=subprocess.PIPE,
            env=self.environment(),
        )
        process.working_folder = self.folder
        self.processes[number] = process.launch()

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def output(self, number: int) -> Path:
        return self.folder / f"output-{number}"

    def wait_for_leader(self) -> int:
        """Return the leader's number, once there is a leader."""
        return wait_until(self._leader_or_failure, f"{self.name} has no leader")

    def _leader_or_failure(self) -> int | None:
        for number, process in self.processes.items():
            status = process.running.poll()
            if status not in (None, -signal.SIGKILL, -signal.SIGTERM, 0):
                output = self.output(number).read_text(errors="replace").strip().splitlines()
                raise BenchError(f"{self.name} ended: {output[-1] if output else status}")
        return self.leader()

    def end(self, number: int, by: int = signal.SIGTERM) -> None:
        """End a process and wait until it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.processes[number].terminate(by)
        self.processes[number].kill()

    def close(self) -> None:
        """End all processes and remove their files."""
        end_all([*self._relays, *self.processes.values()])
        for process in self.processes.values():
            if process.running.stdin:
                process.running.stdin.close()
        self.processes.clear()
        self._temporary.cleanup()

    def pids(self) -> list[int]:
        return [process.pid for process in self.processes.values()]

    def begin(self, load: Load) -> Run:
        """Start the generator against the leader."""
        port = self.port(self.wait_for_leader())
        return Run(load, self.protocol, port, self.pids(), self.spoken)

    def fill(self, load: Load) -> None:
        """Wait for the end of the generator. It starts again after the loss of a leader, so there
        may be more entries than requested."""
        for _ in range(FILL_TRIES - 1):
            with contextlib.suppress(BenchError):
                self.begin(load).result()
                return
        self.begin(load).result()

    def measure(self, load: Load) -> dict[str, float]:
        """Return the client's figures for a load, and its costs."""
        self.wait_for_leader()
        began_s, syncs = time.monotonic(), self.fdatasyncs()
        figures = self.begin(load).result()
        elapsed, after = time.monotonic() - began_s, self.fdatasyncs()
        found = {
            "per_s": figures["ops_s"],
            "p50_ms": figures["p50_ms"],
            "p99_ms": figures["p99_ms"],
            "p999_ms": figures["p999_ms"],
            "servers_cpu": figures["servers_cpu_s"] / figures["seconds"],
            "generator_cpu": figures["generator_cpu_s"] / figures["seconds"],
            "others_cpu": figures["others_cpu_s"] / figures["seconds"],
        }
        if syncs is not None and after is not None:
            found["fdatasyncs_s"] = (after - syncs) / elapsed
        return found


def wait_until(look: Callable[[], Found | None], trouble: str, seconds: float = START_S) -> Found:
    """Return the first true result of `look`.

    Raises:
        BenchError: `trouble`, for that number of seconds.
    """
    deadline = time.monotonic() + seconds
    while (result := look()) is None:
        if time.monotonic() > deadline:
            raise BenchError(f"{trouble} within {seconds:g} s")
        time.sleep(0.02)
    return result


def memory_bytes(pid: int, field: str = "VmRSS") -> int:
    """Return the memory of a process; `VmHWM`: its maximum so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return 1024 * int(line.split()[1])
    raise BenchError(f"/proc/{pid}/status has no {field}")
