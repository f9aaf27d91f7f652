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

from raftline.clients.requests.line_connection import ConnectionEnded, LineConnection

from ..nodes.cluster import Cluster, NodeProcess
from ..nodes.processes import eventually
from ..nodes.proxy import LinkedCluster
from .watch_judge import LAST, SentEvent, Stream, Stretch, judge

WATCHERS = 50
WRITERS = 3
PREFIXES = ("", "p0/", "p1/", "p2/", "p0/k1", "p1/u")
PAUSE_S = 0.004  # of a writer, between two writes
OPTIONS = ("--pace", "fast", "--compact-at", "6000", "--history-events", "400")


# --- watchers and writers -----------------------------------------------------------------------


class Watcher:
    """A client that watches one prefix, at changing nodes."""

    def __init__(self, prefix: str, nodes: Sequence[NodeProcess], seed: int) -> None:
        self.stream = Stream(prefix)
        self._nodes = nodes
        self._chance = random.Random(seed)
        self._id = str(seed) if seed % 2 else ""
        self.is_over = threading.Event()
        self.until: int | None = None  # the last entry to wait for
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not (self.is_over.is_set() and self._knows_all()):
            try:
                self._watch(self._chance.choice(self._nodes))
            except (OSError, ConnectionEnded):
                self.is_over.wait(0.05)

    def _knows_all(self) -> bool:
        stretches = self.stream.stretches
        return bool(stretches and self.until is not None and stretches[-1].upto >= self.until)

    def _watch(self, node: NodeProcess) -> None:
        stretches, prefix = self.stream.stretches, self.stream.prefix
        words = ["watch", *([prefix] if prefix else [])]
        if stretches:
            words += ["after", str(stretches[-1].upto)]
        speaker = f"w#{self._id}@" if self._id else ""
        leave_s = time.monotonic() + self._chance.uniform(0.05, 1.5)
        with node.connect(2.0) as line:
            line.send(speaker + " ".join(words))
            self._take_first(line.read().decode().partition("@")[2], line)
            while time.monotonic() < leave_s and not self._knows_all():
                if not self._take(line.read().decode().partition("@")[2]):
                    return
            if self._chance.random() < 0.3:
                line.send(f"{speaker}unwatch")
                while self._take(line.read().decode().partition("@")[2]):
                    pass

    def _take_first(self, text: str, line: LineConnection) -> None:
        stream = self.stream
        if " begins anew with what there is." in text:
            stream.moves["begun anew"] += 1
            text = line.read().decode().partition("@")[2]
        if text.startswith("WATCH response: goes on after "):
            stream.moves["gone on"] += 1
            assert int(text.rpartition(" ")[2]) == stream.stretches[-1].upto
            return
        self._begin(text, line)

    def _begin(self, text: str, line: LineConnection) -> None:
        words = text.split()
        if words[:2] != ["WATCH", "response:"]:
            self.stream.moves[text[:30]] += 1
            raise ConnectionEnded
        count, begin = int(words[2]), int(words[-1])
        keys = {}
        for _ in range(count):
            event, number, has, key, value = line.read().decode().partition("@")[2].split()
            assert (event, int(number), has) == ("EVENT", begin, "has")
            keys[key] = value
        assert len(keys) == count
        self.stream.moves["begun"] += 1
        self.stream.stretches.append(Stretch(begin, keys, upto=begin))

    def _take(self, text: str) -> bool:
        """Take one line; return whether the watch continues."""
        stretch = self.stream.stretches[-1]
        words = text.split(" ")
        if words[0] != "EVENT":
            if " begins anew with what there is." in text:
                self.stream.moves["begun anew"] += 1
                return False  # it resumes elsewhere, and receives that line again
            ended = text.partition("UNWATCH response: ended after ")[2]
            if ended:
                stretch.upto = max(stretch.upto, int(ended))
            self.stream.moves[text[:30]] += 1
            return False
        number = int(words[1])
        if len(words) > 2:
            stretch.sent.append(SentEvent(number, *words[2:]))
        stretch.upto = number
        return True


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
        cluster.wait_until_raised()
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
