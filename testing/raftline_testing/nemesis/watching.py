"""Watchers that move between nodes under faults; watch_judge.py judges the events sent to them.

Writers set and delete keys under request numbers, so each write takes effect once and is
acknowledged in the end. Each watcher resumes at another node after the last entry that it knows.

`make -C testing watchers` runs a longer campaign, and prints its seed.
"""

from __future__ import annotations

import contextlib
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from raftline.clients.steps import carry_out
from raftline.net.line_connection import ConnectionEnded, LineConnection

from ..nodes.cluster import Cluster, NodeProcess
from ..nodes.processes import eventually
from ..nodes.proxy import LinkedCluster
from ..workloads.watcher_machine import Leave, NextLine, Open, Say, WatcherMachine
from .watch_judge import LAST, SentEvent, Stream, judge

WATCHERS = 50
WRITERS = 3
PREFIXES = ("", "p0/", "p1/", "p2/", "p0/k1", "p1/u")
STAYS_MS = (50, 200, 500, 1500)
PAUSE_S = 0.004  # of a writer, between two writes
OPTIONS = ("--pace", "fast", "--compact-at", "6000", "--history-events", "400")


# --- watchers and writers -----------------------------------------------------------------------


class Watcher:
    """The runner of a watcher's machine in a thread, at changing nodes."""

    def __init__(self, prefix: str, nodes: Sequence[NodeProcess], seed: int) -> None:
        self.stream = Stream(prefix)
        self.is_over = threading.Event()
        self.until: int | None = None  # the last entry to wait for
        self.thread = threading.Thread(target=self._run, daemon=True)
        self._nodes = nodes
        self._chance = chance = random.Random(seed)
        self._machine = WatcherMachine(
            f"w{seed}", prefix, chance, self.stream, is_numbered=seed % 2 == 1, stays_ms=STAYS_MS
        )
        self._line: LineConnection | None = None
        self._leave_s = 0.0

    def _run(self) -> None:
        try:
            carry_out(self._machine.steps(), self._do)
        finally:
            self._hang_up()

    def _knows_all(self) -> bool:
        stretches = self.stream.stretches
        return bool(stretches and self.until is not None and stretches[-1].upto >= self.until)

    def _do(self, step: object) -> str | None:
        self._machine.stopped = self.is_over.is_set() and self._knows_all()
        with contextlib.suppress(OSError):
            if isinstance(step, NextLine):
                return self._next_line()
            if isinstance(step, Open):
                self._line = self._chance.choice(self._nodes).connect(2.0)
            if isinstance(step, (Open, Say)) and self._line is not None:
                self._leave_s = time.monotonic() + step.stay_ms / 1000
                self._line.send(step.line)
        if isinstance(step, Leave):
            self._hang_up()
            self.is_over.wait(self._chance.random() * step.ms / 1000)
        return None

    def _next_line(self) -> str | None:
        if self._line is None:
            return None
        if time.monotonic() > self._leave_s or self._knows_all():
            return ""
        return self._line.read().decode()

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
        self._line = None


class Writer:
    """A client that sets and deletes keys, and repeats each write until it is acknowledged."""

    def __init__(
        self, number: int, nodes: Sequence[NodeProcess], under: str = "", pause_s: float = PAUSE_S
    ) -> None:
        """Prepare; its keys, and its name in the log, begin with `under`."""
        self.acknowledged: list[SentEvent] = []
        self._number = number
        self._nodes = nodes
        self._under, self._pause_s = under, pause_s
        self._chance = random.Random(number)
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self._at = 0
        self._line: LineConnection | None = None

    def _run(self) -> None:
        count = 0
        while not self.is_over.is_set():
            count += 1
            key = f"{self._under}p{self._chance.randrange(3)}/k{self._chance.randrange(12)}"
            if count % 5 == 0:
                key = f"{self._under}p1/u{self._number}-{count}"
            self._write(SentEvent(0, "set", key, f"w{self._number}-{count}"), 2 * count)
            if count % 5 == 0:
                self._write(SentEvent(0, "delete", key), 2 * count + 1)
            self.is_over.wait(self._pause_s)

    def write(self, write: SentEvent) -> None:
        """Write the final value, after all other writes of this writer."""
        self._write(write, (1 << 30) + len(self.acknowledged))

    def _write(self, write: SentEvent, number: int) -> None:
        command = f"{write.kind} {write.key} {write.value}".rstrip()
        while True:
            try:
                if self._line is None:
                    self._line = self._nodes[self._at % len(self._nodes)].connect(3.0)
                reply = self._line.ask(f"{self._under}writer{self._number}#{number}@{command}")
                assert "another command" not in reply
                if " response: " in reply:
                    break
            except (OSError, ConnectionEnded):
                pass
            if self._line is not None:
                self._line.close()
            self._line = None
            self._at += 1
            time.sleep(0.02)
        self.acknowledged.append(write)


class Watched:
    """Watchers and writers of keys that begin with `under`, in a running cluster."""

    def __init__(
        self,
        nodes: Sequence[NodeProcess],
        watchers: int,
        writers: int,
        seed: int,
        under: str = "",
        pause_s: float = PAUSE_S,
    ) -> None:
        self._under = under
        self._watchers = [
            Watcher(under + PREFIXES[place % len(PREFIXES)], nodes, 1000 * seed + place)
            for place in range(watchers)
        ]
        self._writers = [Writer(place, nodes, under, pause_s) for place in range(writers)]

    def __enter__(self) -> Watched:
        for watcher in self._watchers:
            watcher.thread.start()
        first = self._watchers[0].stream  # over all keys: it would miss a write before its start
        eventually(lambda: first.stretches, "a watch that begins")
        for writer in self._writers:
            writer.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for watcher in self._watchers:
            watcher.is_over.set()
        for writer in self._writers:
            writer.is_over.set()

    def end(self, cluster: Cluster, *, is_alone: bool = False) -> tuple[list[str], Counter[str]]:
        """Finish all writes in a healed cluster, and wait until each watcher has reached the last
        one; return the findings, and the counts of events. `is_alone`: there are no other writers,
        so all nodes come to rest."""
        for writer in self._writers:
            writer.is_over.set()
        for writer in self._writers:
            writer.thread.join(60.0)
            assert not writer.thread.is_alive(), "a write is never acknowledged"
        if is_alone:
            cluster.wait_until_whole()
        last = cluster.leader().status()["last_applied"]
        for watcher in self._watchers:
            watcher.until = last
            watcher.is_over.set()
        for key in ("p0/k1-end", "p1/u-end", "p2/end"):
            self._writers[0].write(SentEvent(0, "set", self._under + key, LAST))
        for watcher in self._watchers:
            watcher.thread.join(60.0)
            assert not watcher.thread.is_alive(), f"a watcher never hears of entry {last}"
        happened: Counter[str] = Counter()
        for watcher in self._watchers:
            happened.update(watcher.stream.moves)
        happened["writes"] = sum(len(one.acknowledged) for one in self._writers)
        streams = [one.stream for one in self._watchers]
        return judge(streams, [one.acknowledged for one in self._writers]), happened


# --- faults -------------------------------------------------------------------------------------


def kill(cluster: LinkedCluster, chance: random.Random) -> None:
    node = chance.choice(cluster.nodes)
    node.kill()
    time.sleep(chance.uniform(0, 0.6))
    node.start()


def restart(cluster: LinkedCluster, chance: random.Random) -> None:
    node = chance.choice(cluster.nodes)
    node.terminate()
    node.ended()
    node.start()


def pause(cluster: LinkedCluster, chance: random.Random) -> None:
    node = chance.choice(cluster.nodes)
    node.pause()
    time.sleep(chance.uniform(0.2, 1.2))
    node.resume()


def cut_off(cluster: LinkedCluster, chance: random.Random) -> None:
    cluster.block(cluster.around(chance.choice(cluster.nodes)))
    time.sleep(chance.uniform(0.3, 1.5))
    cluster.heal()


def transfer(cluster: LinkedCluster, chance: random.Random) -> None:
    node = chance.choice(cluster.nodes)
    with contextlib.suppress(OSError, ConnectionEnded):
        node.ask("transfer", 3.0)


FAULTS: tuple[Callable[[LinkedCluster, random.Random], None], ...] = (
    kill, restart, pause, cut_off, cut_off, transfer,
)  # fmt: skip


def campaign(folder: Path, seconds: float, seed: int) -> tuple[list[str], Counter[str]]:
    """Run it; return the findings, and the counts of events."""
    chance = random.Random(seed)
    with LinkedCluster(folder, 3, *OPTIONS) as cluster:
        cluster.start().wait_until_whole()
        cluster.wait_until_begun()
        struck: Counter[str] = Counter()
        with Watched(cluster.nodes, WATCHERS, WRITERS, seed) as watched:
            end_s = time.monotonic() + seconds
            while time.monotonic() < end_s:
                fault = chance.choice(FAULTS)
                struck[fault.__name__] += 1
                fault(cluster, chance)
                time.sleep(chance.uniform(0.1, 0.8))
            cluster.heal()
            wrong, happened = watched.end(cluster, is_alone=True)
    return wrong, struck + happened


if __name__ == "__main__":
    drawn = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**6)
    print(f"seed {drawn}")
    with tempfile.TemporaryDirectory() as path:
        problems, counted = campaign(Path(path), float(sys.argv[1]), drawn)
    print(dict(counted))
    print("\n".join(problems) or "every event once, in order, nothing missing")
    sys.exit(bool(problems))
