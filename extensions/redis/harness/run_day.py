"""`make -C testing redis-day`: job queues at an even rate, while the leader of three real nodes is
killed again and again (docs/use/redis.md).

Each library has nodes of its own, a program that adds jobs, and workers, which are started again
if they end, as by a supervisor.

Exit status 0: each acknowledged job was done, but for those that a worker may lose with what it
pops (docs/use/redis.md), 1: a job was lost or invented, or a node failed.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from raftline_testing.nodes.at_work import of_process
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import NotAsExpected, Process, eventually

from .job_record import JobRecord
from .run_workers import CHANGES, MODES, SENTINEL, Worker

LIBRARIES: Final = ("rq", "celery", "bullmq")
# What a worker of these takes stays in the store until it is done; those of others pop it.
MOVES: Final = ("rq", "bullmq", "arq")
DOWN_S: Final = 5.0  # a killed leader starts again
SHOWN_S: Final = 60.0
MIB: Final = 1 << 20
SIZES: Final = {
    "string": "STRLEN", "list": "LLEN", "hash": "HLEN", "set": "SCARD", "zset": "ZCARD",
    "stream": "XLEN",
}  # fmt: skip
NUMBER: Final = re.compile(r"[0-9a-f-]{8,}|[0-9]+")
COLUMNS: Final = (
    "library", "minutes", "changes", "acknowledged", "done twice", "lost", "additions that failed",
    "slowest addition", "ends of workers", "log written", "log kept", "memory",
)  # fmt: skip


class Figures:
    """The log and the memory of nodes, in bytes."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._logs: dict[str, int] = {}
        self.written: Counter[str] = Counter()
        self.first, self.kept, self.memory = 0, 0, 0

    def look(self) -> None:
        """Look at each node that runs. A log that became shorter was compacted since."""
        views = {node: node.status() for node in self._cluster.running}
        for node, view in views.items():
            if not view.get("log_bytes"):
                continue
            size = view["log_bytes"]
            self.written[node.name] += max(0, size - self._logs.get(node.name, 0))
            self._logs[node.name] = size
            if view["role"] == "leader":
                self.kept = size + view["snapshot_bytes"]
        with suppress(OSError, StopIteration):
            sizes = [of_process(node.pid, "VmRSS") << 10 for node in self._cluster.running]
            self.memory = max(sizes)
            self.first = self.first or self.memory


class Day:
    """One library at work."""

    def __init__(self, worker: Worker, cluster: Cluster, options: argparse.Namespace) -> None:
        self.worker, self.cluster, self.options = worker, cluster, options
        self.file = file = cluster.folder / "done"
        ports = [node.port for node in cluster.nodes]
        adds = worker.command("feed", file, str(options.rate), ports)
        self._adder = Process("adder", adds, stdin=subprocess.PIPE)
        works = worker.command("work", file, "-", ports)
        self._workers = [Process(worker.library, works) for _ in range(options.workers)]
        self.record, self.figures = JobRecord(), Figures(cluster)
        self.changes, self.ends = 0, 0
        self.said: list[str] = []
        self._begin_s = time.monotonic()
        self._added_s = 0.0  # for how long jobs have been added
        self._read = 0  # bytes of the file

    @property
    def now_s(self) -> float:
        return time.monotonic() - self._begin_s

    def run(self) -> None:
        """Work until the time is over, and then until nothing is left to do."""
        for each in (*self._workers, self._adder):
            each.launch()
        try:
            due_s = shown_s = 0.0
            while self._added_s < 60 * self.options.minutes:
                self._look_again()
                self._added_s = self.now_s
                if self._added_s >= due_s + self.options.every:
                    due_s += self.options.every
                    self._change()
                if self._added_s >= shown_s + SHOWN_S:
                    shown_s += SHOWN_S
                    print(self.row(), flush=True)
            stdin = self._adder.running.stdin
            assert stdin is not None
            stdin.close()
            self._adder.ended()
            self._settle()
        finally:
            for each in (*self._workers, self._adder):
                each.close()

    def say(self, text: str) -> None:
        print(f"    {self.now_s:7.1f} s, {self.worker.library}: {text}", flush=True)

    def _look_again(self) -> None:
        """Record what is new after a second, and start workers that have ended again."""
        threading.Event().wait(1.0)
        for failure in self.record.take(self._adder.take_lines()):
            self.say(failure)
        if self.file.exists():
            with self.file.open() as file:
                file.seek(self._read)
                while (line := file.readline()).endswith("\n"):
                    self.record.done[line.strip()] += 1
                    self._read = file.tell()
        self.figures.look()
        for each in self._workers:
            said = each.take_lines()
            self.said = [*self.said, *said][-40:]
            if not each.is_running:
                self.ends += 1
                self.say(f"a worker ended: {self.said[-3:]}")
                each.launch()

    def _change(self) -> None:
        leader, names = self.cluster.leader(), self.options.changes
        name = names[self.changes % len(names)]
        self.changes += 1
        if name == "kills":
            leader.kill()
            up_s = self.now_s + DOWN_S
            while self.now_s < up_s:
                self._look_again()
            leader.start()
            eventually(lambda: leader.status().get("recovering") is False, f"{leader.name} votes")
        else:
            CHANGES[name](self.cluster, leader)
        self.say(f"{name}: {self.cluster.leader().name} leads after {leader.name}")

    def _settle(self) -> None:
        """Wait until each acknowledged job is done, or none was for a while."""
        self._look_again()
        seen, since_s = 0, self.now_s
        while self.record.lost and self.now_s < since_s + self.options.settle:
            self._look_again()
            if seen != self.record.done.total():
                seen, since_s = self.record.done.total(), self.now_s

    def row(self) -> str:
        """Return the row of a table."""
        record, figures = self.record, self.figures
        cells = (
            self.worker.library, f"{self._added_s / 60:.0f}", self.changes,
            len(record.acknowledged), len(record.twice), len(record.lost), len(record.failed),
            f"{record.slowest_s:.1f} s", self.ends,
            f"{max(figures.written.values(), default=0) / MIB:.1f} MiB",
            f"{figures.kept / MIB:.1f} MiB",
            f"{figures.first / MIB:.0f} to {figures.memory / MIB:.0f} MiB",
        )  # fmt: skip
        return f"| {' | '.join(map(str, cells))} |"


def day(worker: Worker, options: argparse.Namespace) -> bool:
    """Run one library, and print its row; return whether nothing was lost or invented."""
    more = ["--compact-at", str(options.compact_at)] if options.compact_at else []
    with tempfile.TemporaryDirectory() as folder, Cluster(Path(folder), 3, *more) as cluster:
        cluster.start().wait_until_whole().wait_until_begun()
        at_work = Day(worker, cluster, options)
        try:
            at_work.run()
        except NotAsExpected as problem:
            at_work.say(str(problem))
            return False
        finally:
            print(at_work.row(), flush=True)
        record = at_work.record
        for reason, count in record.reasons.items():
            at_work.say(f"{count} additions failed with {reason}")
        if record.lost or record.invented:
            at_work.say(f"lost {record.lost}, invented {record.invented}")
            print(*at_work.said, *left(cluster.leader().port), sep="\n    ", flush=True)
    popped = 0 if worker.library in MOVES else at_work.changes * options.workers
    return len(record.lost) <= popped and not record.invented


def left(port: int) -> list[str]:
    """Return how many keys of each kind the store has, by their names without numbers, and the size
    of a key that is alone."""
    import redis  # pyright: ignore[reportMissingImports]

    store: Any = redis.Redis(port=port, decode_responses=True)
    kinds = Counter(NUMBER.sub("N", name) for name in store.scan_iter(count=1000))
    return [
        f"{name}: {store.execute_command(SIZES[store.type(name)], name)}"
        if store.exists(name)
        else f"{count} times {name}"
        for name, count in kinds.items()
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the libraries at the same time; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="with an environment for each library")
    parser.add_argument("--only", nargs="*", default=LIBRARIES, choices=list(MODES))
    parser.add_argument("--mode", default=SENTINEL)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=10.0, help="jobs a second")
    parser.add_argument("--workers", type=int, default=3, help="of each library")
    parser.add_argument("--settle", type=float, default=240.0, help="seconds without a job done")
    parser.add_argument("--every", type=float, default=300.0, help="seconds between changes")
    parser.add_argument("--changes", nargs="*", default=["kills"], choices=list(CHANGES))
    parser.add_argument("--compact-at", type=int, default=0, help="bytes of the log")
    options = parser.parse_args(arguments)
    all_ = [Worker(name, options.mode, options.folder.resolve()) for name in options.only]
    if not (workers := [each for each in all_ if each.is_here]):
        print("skipped: no such library is here", file=sys.stderr)
        return 0
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    with ThreadPoolExecutor(len(workers)) as threads:
        is_right = list(threads.map(lambda worker: day(worker, options), workers))
    return int(not all(is_right))


if __name__ == "__main__":
    sys.exit(main())
