"""`make -C testing redis-workers`: workers with libraries of Redis, while the leader of three real
nodes changes (docs/use/redis.md).

Each worker waits for a job, the leader is transferred, ended by SIGTERM or killed, and the same
worker must do the next job.

Exit status 0: each worker continued after each change, 1: one did not.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from raftline_testing.nodes.cluster import Cluster, NodeProcess
from raftline_testing.nodes.processes import DEADLINE_S, NotAsExpected, Process, eventually

from .redis_wire import framed
from .worker_programs import workers

FOLDER: Final = Path(workers.__file__).parent
ADDRESS, CLUSTER, SENTINEL = "one address", "cluster", "Sentinel"
# What each library has. By one address, a proxy before the nodes leads to the leader.
MODES: Final = {
    "celery": (SENTINEL, ADDRESS),
    "rq": (SENTINEL, ADDRESS),
    "huey": (SENTINEL, ADDRESS),
    "arq": (SENTINEL, ADDRESS),
    "redis": (SENTINEL, CLUSTER, ADDRESS),
    "ioredis": (SENTINEL, CLUSTER, ADDRESS),
    "bullmq": (SENTINEL, CLUSTER, ADDRESS),
    "sidekiq": (SENTINEL, ADDRESS),
}
JAVASCRIPT: Final = ("ioredis", "bullmq")
POLLS: Final = ("arq",)  # it never waits in a command
PUTS: Final = 5  # tries to add a job, each of which may meet the change
PUT_S: Final = 20.0


class Worker(NamedTuple):
    """A library in one mode, and where its programs are."""

    library: str
    mode: str
    folder: Path

    @property
    def is_here(self) -> bool:
        """Whether what it needs is installed."""
        if self.library == "sidekiq":
            return shutil.which("sidekiq") is not None
        return (
            self.folder / ("node_modules" if self.library in JAVASCRIPT else self.library)
        ).exists()

    def command(self, action: str, file: Path, item: str, ports: Sequence[int]) -> list[str]:
        """Return the command line of its worker, or of a program that adds jobs. Some workers in
        another language take jobs that redis-py adds."""
        operands = [action, self.library, self.mode, str(file), item, *map(str, ports)]
        if self.library == "bullmq" or (self.library == "ioredis" and action == "work"):
            for program in FOLDER.glob("*.mjs"):
                shutil.copy(program, self.folder)
            return ["node", str(self.folder / f"{self.library}.mjs"), *operands]
        if self.library == "sidekiq" and action == "work":
            at = [f"MODE={self.mode}", f"FILE={file}", f"PORTS={' '.join(map(str, ports))}"]
            return ["env", *at, "sidekiq", "-c", "1", "-r", str(FOLDER / "sidekiq.rb")]
        library = self.library if self.library in workers.LIBRARIES else "redis"
        return [str(self.folder / library / "bin" / "python"), workers.__file__, *operands]


class Front:
    """A port that leads each new connection to the leader, as a proxy before the nodes does."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._listener = socket.create_server(("localhost", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                threading.Thread(target=self._lead, args=(client,), daemon=True).start()

    def _lead(self, client: socket.socket) -> None:
        with suppress(OSError, NotAsExpected), client:
            node = socket.create_connection(("localhost", self._cluster.leader().port))
            with node:
                back = threading.Thread(target=_copy, args=(node, client), daemon=True)
                back.start()
                _copy(client, node)
                back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Copy bytes up to the end, which ends both directions."""
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


# --- changes of the leader ------------------------------------------------------------------------


def transfer(cluster: Cluster, leader: NodeProcess) -> None:
    to = cluster.followers()[0].name
    eventually(lambda: f"{to} leads" in cluster.leader().ask(f"transfer {to}"), f"{to} leads")


def end(cluster: Cluster, leader: NodeProcess) -> None:
    leader.running.terminate()
    leader.ended()
    leader.start()


def kill(cluster: Cluster, leader: NodeProcess) -> None:
    leader.kill()
    leader.start()


CHANGES: Final[dict[str, Callable[[Cluster, NodeProcess], None]]] = {
    "transfers": transfer,
    "SIGTERMs": end,
    "kills": kill,
}


def _waits(node: NodeProcess) -> bool:
    """Whether a client waits at a node."""
    with suppress(OSError), socket.create_connection(("localhost", node.port), DEADLINE_S) as raw:
        raw.sendall(framed("INFO", "clients"))
        return b"blocked_clients:0\r\n" not in raw.recv(1 << 16)
    return False


# --- a run ----------------------------------------------------------------------------------------


@contextmanager
def _ports(cluster: Cluster, mode: str) -> Iterator[list[int]]:
    if mode != ADDRESS:
        yield [node.port for node in cluster.nodes]
        return
    front = Front(cluster)
    try:
        yield [front.port]
    finally:
        front.close()


def run(worker: Worker, cluster: Cluster, file: Path, times: int) -> dict[str, str]:
    """Return how often a worker continued after each kind of change, and how it ended."""
    with _ports(cluster, worker.mode) as ports:
        program = Process(worker.library, worker.command("work", file, "-", ports))
        program.launch()
        went_on = dict.fromkeys(CHANGES, "")
        try:
            _does("first", worker, program, file, ports)
            for name, change in CHANGES.items():
                for count in range(1, times + 1):
                    went_on[name] = f"ended at {count}"
                    leader = cluster.leader()
                    if worker.library not in POLLS:
                        eventually(lambda at=leader: _waits(at), "the worker waits")
                    change(cluster, leader)
                    cluster.leader()
                    _does(f"{name}-{count}", worker, program, file, ports)
                    went_on[name] = f"{count} of {times}"
        except NotAsExpected as problem:
            print(problem, *program.take_lines()[-12:], sep="\n    ", flush=True)
        finally:
            program.close()
    return went_on


def _does(item: str, worker: Worker, program: Process, file: Path, ports: Sequence[int]) -> None:
    """Add a job, and wait until the worker has done it.

    Raises:
        NotAsExpected: it has ended, or does not do it in time.
    """
    put = worker.command("put", file, item, ports)
    for _ in range(PUTS):
        with suppress(subprocess.SubprocessError):
            subprocess.run(put, capture_output=True, timeout=PUT_S, check=True)
            break
    else:
        raise NotAsExpected(f"no job was added by {' '.join(put)}")

    def has_done() -> bool:
        return file.exists() and item in file.read_text().splitlines()

    eventually(lambda: has_done() or not program.is_running, f"{worker.library} does {item}")
    if not has_done():
        raise NotAsExpected(f"{worker.library} ended before {item}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the workers in turn, and print a row for each; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="with an environment for each library")
    parser.add_argument("--only", default="", help="the name of one library")
    parser.add_argument("--times", type=int, default=3, help="how often the leader changes")
    options = parser.parse_args(arguments)
    is_right = True
    print(f"| worker | mode | {' | '.join(CHANGES)} |\n|---|---|---|---|---|", flush=True)
    for library, modes in MODES.items():
        for mode in modes if options.only in ("", library) else ():
            worker = Worker(library, mode, options.folder.resolve())
            if not worker.is_here:
                print(f"skipped: {library} is not here", file=sys.stderr)
                continue
            with tempfile.TemporaryDirectory() as folder, Cluster(Path(folder), 3) as cluster:
                cluster.start().wait_until_whole().wait_until_begun()
                went_on = run(worker, cluster, Path(folder) / "done", options.times)
            print(f"| {library} | {mode} | {' | '.join(went_on.values())} |", flush=True)
            is_right &= set(went_on.values()) == {f"{options.times} of {options.times}"}
    return int(not is_right)


if __name__ == "__main__":
    sys.exit(main())
