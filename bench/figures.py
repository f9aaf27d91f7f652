"""First figures: three nodes on this machine, the load generator, one table.

`make figures` builds the generator and runs this. Nothing here is a test; nothing asserts a time.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SERVER = HERE.parent / "src" / "server.py"
KINDS = (  # what, connections, in flight on each
    ("set", 1, 1), ("set", 8, 1), ("set", 64, 1), ("set", 256, 1), ("set", 8, 16),
    ("get", 1, 1), ("get", 64, 1), ("get", 256, 1),
)  # fmt: skip
COLUMNS = ("what", "conns", "depth", "per s", "p50 ms", "p99 ms", "fdatasync/s", "generator CPU")


def ask(port: int, line: str) -> str:
    """Return what a node answers to one line."""
    with socket.create_connection(("localhost", port), timeout=5) as connection:
        connection.sendall(line.encode() + b"\n")
        return connection.makefile().readline()


def status(port: int) -> dict[str, object]:
    found: dict[str, object] = json.loads(ask(port, "status").split(": ", 1)[1])
    return found


def wait_for_leader(ports: list[int]) -> int:
    """Return the leader's port, once there is one; at most 30 s."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for port in ports:
            try:
                if status(port)["role"] == "leader":
                    return port
            except (OSError, IndexError):
                continue
        time.sleep(0.1)
    raise SystemExit("no leader within 30 s")


def measure(
    generator: Path, port: int, what: str, conns: int, depth: int, seconds: int
) -> list[object]:
    """Return one row of the table: a closed loop of `conns` connections, `depth` in flight each."""
    command = f"{generator} -p {port} -o {what} -c {conns} -d {depth} -t {seconds} -w 1"
    before, begun = status(port), time.monotonic()
    run = subprocess.run(shlex.split(command), capture_output=True, text=True, check=True)
    elapsed = time.monotonic() - begun
    figures = json.loads(run.stdout)
    if figures["errors"]:
        raise SystemExit(f"{figures['errors']} of {figures['ops']} requests failed")
    syncs = (int(str(status(port)["syncs"])) - int(str(before["syncs"]))) / elapsed
    return [
        what, conns, depth, figures["ops_s"], figures["p50_ms"], figures["p99_ms"],
        round(syncs), figures["client_cpu"],
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generator", type=Path, default=HERE.parent / "build" / "loadgen")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--base-port", type=int, default=12000)
    arguments = parser.parse_args()
    ports = [arguments.base_port + i for i in range(arguments.nodes)]
    with tempfile.TemporaryDirectory() as folder:
        names = "".join(f"s{i} localhost {port}\n" for i, port in enumerate(ports, start=1))
        Path(folder, "server-configuration.txt").write_text(names)
        nodes = [
            subprocess.Popen(
                [sys.executable, SERVER, f"s{i}", str(port), "--dir", folder],
                stdout=subprocess.DEVNULL,
            )
            for i, port in enumerate(ports, start=1)
        ]
        try:
            report(arguments, wait_for_leader(ports))
        finally:
            for node in nodes:
                node.terminate()
            for node in nodes:
                node.wait()


def report(arguments: argparse.Namespace, port: int) -> None:
    """Print the table: each row the median of the rounds, which were run in turn."""
    subprocess.run(
        [arguments.generator, "-p", str(port), "-o", "load", "-c", "8"], check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    rows = [
        [measure(arguments.generator, port, *kind, arguments.seconds) for kind in KINDS]
        for _ in range(arguments.rounds)
    ]
    version = platform.python_version()
    print(f"{arguments.nodes} nodes, Python {version}, median of {len(rows)} rounds")
    print("  ".join(f"{column:>13}" for column in COLUMNS))
    for position, kind in enumerate(KINDS):
        figures = [
            statistics.median(float(str(row[position][column])) for row in rows)
            for column in range(3, len(COLUMNS))
        ]
        cells = [*kind, *(f"{figure:,.2f}" for figure in figures)]
        print("  ".join(f"{cell!s:>13}" for cell in cells))


if __name__ == "__main__":
    main()
