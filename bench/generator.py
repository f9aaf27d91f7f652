"""Run the load generator, `build/loadgen`, and read its output."""

from __future__ import annotations

import array
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

BUILD = Path(__file__).resolve().parent.parent / "build"
KEYS = 10_000


class BenchError(Exception):
    """A measurement can't continue. The message is one line for the user."""


def need(program: Path) -> None:
    """Raise BenchError if a program was not built."""
    if not program.exists():
        name = f"build/{program.name}"
        raise BenchError(
            f"{name} is missing: `make -C bench build/{program.name}` builds it, with cc"
        )


@dataclass(frozen=True)
class Load:
    """The load on a server, and its length; the generator's own defaults are not used."""

    what: str = "set"
    connections: int = 64
    in_flight: int = 1
    seconds: float = 5
    warm_up: float = 1
    value_bytes: int = 100
    keys: int = KEYS
    requests: int = 0  # unless 0: this number of requests, instead of a time
    idle: int = 0  # additional idle connections
    per_second: float = 0  # unless 0: paced
    burst: bool = False  # connections begin at once, and first waits count from the connect
    record: Path | None = None  # a file for the time and wait of each answer

    def arguments(self) -> list[str]:
        words = [
            *("-o", self.what, "-c", self.connections, "-d", self.in_flight, "-t", self.seconds),
            *("-w", self.warm_up, "-v", self.value_bytes, "-k", self.keys, "-i", self.idle),
        ]
        words += ["-n", self.requests] if self.requests else []
        words += ["-R", self.per_second] if self.per_second else []
        words += ["-b"] if self.burst else []
        words += ["-r", self.record] if self.record else []
        return [str(argument) for argument in words]


class Run:
    """The generator at work; `result()` waits for its end."""

    def __init__(
        self,
        load: Load,
        protocol: str,
        port: int,
        pids: Sequence[int] = (),
        more: Sequence[str] = (),
    ) -> None:
        need(BUILD / "loadgen")
        command = [str(BUILD / "loadgen"), "-P", protocol, "-p", str(port), *load.arguments()]
        command += more
        if pids:
            command += ["-m", ",".join(map(str, pids))]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def result(self, timeout_s: float = 600, *, errors_count: bool = False) -> dict[str, float]:
        """Return the figures once it has ended. With `errors_count`, failed requests are a figure.

        Raises:
            BenchError: it failed, or requests did; it includes their answers.
        """
        try:
            output, complaints = self.process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.stop()
            raise BenchError(f"the generator did not end within {timeout_s:g} s") from None
        complaint = " ".join(complaints.split())
        if self.process.returncode:
            raise BenchError(complaint or f"the generator ended with {self.process.returncode}")
        figures: dict[str, float] = json.loads(output)
        if figures["errors"] and not errors_count:
            failed = f"{figures['errors']:.0f} of {figures['ops'] + figures['errors']:.0f} requests"
            raise BenchError(f"{failed} failed; {complaint}")
        return figures

    def finish(self) -> dict[str, float]:
        """End its time early; return the figures until then."""
        self.process.terminate()
        return self.result()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


def answers(record: Path) -> list[tuple[float, float]]:
    """Return the time (`time.monotonic`) of each answer in a record, and its wait in ms."""
    numbers = array.array("Q", record.read_bytes())
    return [(at / 1e9, took / 1e6) for at, took in zip(numbers[::2], numbers[1::2], strict=True)]
