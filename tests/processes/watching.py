"""Watchers that move between nodes under faults, and the judge of what they were told.

Writers set and delete keys under request numbers, so each write takes effect once and is
acknowledged in the end. Each watcher goes on at another node behind the last entry that it knows.
The judge puts all that was told together, and compares each stream with it.

`make watchers` runs a longer campaign, of which the seed is told.
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
from dataclasses import dataclass, field
from pathlib import Path

from raftline.clients.lines import Ended, LineConnection
from raftline.harness.cluster import NodeProcess
from raftline.harness.processes import eventually
from raftline.harness.proxy import LinkedCluster

WATCHERS = 50
WRITERS = 3
PREFIXES = ("", "p0/", "p1/", "p2/", "p0/k1", "p1/u")
OPTIONS = ("--pace", "fast", "--compact-at", "6000", "--history-events", "400")


@dataclass(frozen=True)
class Told:
    """One event as a watcher was told it."""

    number: int
    kind: str
    key: str
    value: str = ""


@dataclass
class Stretch:
    """The events that a watch told from a beginning on, without a gap, on several connections."""

    begin: int  # the entry that the keys are as of, or behind which it went on
    keys: dict[str, str] | None  # those that were there, None where it went on
    told: list[Told] = field(default_factory=list)
    upto: int = 0  # the last entry that is known to be told whole


@dataclass
class Stream:
    """All that one watcher was told."""

    prefix: str
    stretches: list[Stretch] = field(default_factory=list)
    moves: Counter[str] = field(default_factory=Counter)


# --- the judge ----------------------------------------------------------------------------------


def judge(streams: Sequence[Stream], acknowledged: Sequence[Sequence[Told]]) -> list[str]:
    """Return what is wrong: nothing, where each watcher was told each event once, in order.

    `acknowledged` are the writes of each writer, one after the other, with number 0.
    """
    truth: dict[int, Told] = {}
    wrong: list[str] = []
    for stream in streams:
        for stretch in stream.stretches:
            for one in stretch.told:
                if truth.setdefault(one.number, one) != one:
                    wrong.append(f"entry {one.number} is {truth[one.number]} and {one}")
    in_order = [truth[number] for number in sorted(truth)]
    wrong += _judge_writes(in_order, acknowledged)
    for place, stream in enumerate(streams):
        here = [one for one in in_order if one.key.startswith(stream.prefix)]
        wrong += [f"watcher {place} of {stream.prefix!r}: {why}" for why in _judge(stream, here)]
    return wrong


def _judge_writes(in_order: Sequence[Told], acknowledged: Sequence[Sequence[Told]]) -> list[str]:
    wrong = []
    places: dict[Told, list[int]] = {}
    for one in in_order:
        places.setdefault(Told(0, one.kind, one.key, one.value), []).append(one.number)
    for writes in acknowledged:
        before = 0
        for write in writes:
            found = places.pop(write, [])
            if len(found) != 1:
                wrong.append(f"{write} was told {len(found)} times: {found}")
            elif found[0] <= before:
                wrong.append(f"{write} stands before what was acknowledged before it")
            before = max([before, *found])
    return wrong + [f"nobody wrote {one}" for one in places]


def _judge(stream: Stream, here: Sequence[Told]) -> list[str]:
    wrong = []
    before = 0
    for stretch in stream.stretches:
        if stretch.begin < before:
            wrong.append(f"it went back from {before} to {stretch.begin}")
        before = stretch.upto
        expected = [one for one in here if stretch.begin < one.number <= stretch.upto]
        if stretch.told != expected:
            missing = [one for one in expected if one not in stretch.told]
            wrong.append(
                f"from {stretch.begin} to {stretch.upto}: missing {missing[:3]}, told "
                f"{len(stretch.told)} of {len(expected)}"
            )
        if stretch.keys is not None:
            state: dict[str, str] = {}
            for one in here:
                if one.number <= stretch.begin:
                    state.pop(one.key, None)
                    if one.kind == "set":
                        state[one.key] = one.value
            if state != stretch.keys:
                odd = sorted(set(state.items()) ^ set(stretch.keys.items()))
                wrong.append(f"the keys as of {stretch.begin} differ: {odd[:3]}")
    return wrong


# --- those who watch and write ------------------------------------------------------------------


class Watcher:
    """Watches one prefix, now here, now there."""

    def __init__(self, prefix: str, nodes: Sequence[NodeProcess], seed: int) -> None:
        self.stream = Stream(prefix)
        self._nodes = nodes
        self._chance = random.Random(seed)
        self._id = str(seed) if seed % 2 else ""
        self.is_over = threading.Event()
        self.until: int | None = None  # the last entry that is to be told
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not (self.is_over.is_set() and self._knows_all()):
            try:
                self._watch(self._chance.choice(self._nodes))
            except (OSError, Ended):
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
        with LineConnection(node.port, 2.0) as line:
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
            raise Ended
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
        """Take one line; return whether the watch goes on."""
        stretch = self.stream.stretches[-1]
        words = text.split(" ")
        if words[0] != "EVENT":
            if " begins anew with what there is." in text:
                self.stream.moves["begun anew"] += 1
                return False  # it resumes elsewhere, and is told that again
            ended = text.partition("UNWATCH response: ended after ")[2]
            if ended:
                stretch.upto = max(stretch.upto, int(ended))
            self.stream.moves[text[:30]] += 1
            return False
        number = int(words[1])
        if len(words) > 2:
            stretch.told.append(Told(number, *words[2:]))
        stretch.upto = number
        return True


class Writer:
    """Sets and deletes keys, each write again until it is acknowledged."""

    def __init__(self, number: int, nodes: Sequence[NodeProcess]) -> None:
        self.acknowledged: list[Told] = []
        self._number = number
        self._nodes = nodes
        self._chance = random.Random(number)
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self._at = 0
        self._line: LineConnection | None = None

    def _run(self) -> None:
        count = 0
        while not self.is_over.is_set():
            count += 1
            key = f"p{self._chance.randrange(3)}/k{self._chance.randrange(12)}"
            if count % 5 == 0:
                key = f"p1/u{self._number}-{count}"
            self._write(Told(0, "set", key, f"w{self._number}-{count}"), 2 * count)
            if count % 5 == 0:
                self._write(Told(0, "delete", key), 2 * count + 1)
            time.sleep(0.004)

    def write(self, write: Told) -> None:
        """Write once more, behind all that this writer has written."""
        self._write(write, (1 << 30) + len(self.acknowledged))

    def _write(self, write: Told, number: int) -> None:
        asked = f"{write.kind} {write.key} {write.value}".rstrip()
        while True:
            try:
                if self._line is None:
                    self._line = LineConnection(self._nodes[self._at].port, 3.0)
                reply = self._line.ask(f"writer{self._number}#{number}@{asked}")
                assert "another command" not in reply
                if " response: " in reply:
                    break
            except (OSError, Ended):
                pass
            if self._line is not None:
                self._line.close()
            self._line = None
            self._at = (self._at + 1) % len(self._nodes)
            time.sleep(0.02)
        self.acknowledged.append(write)


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
    with contextlib.suppress(OSError, Ended):
        node.ask("transfer", 3.0)


FAULTS: tuple[Callable[[LinkedCluster, random.Random], None], ...] = (
    kill, restart, pause, cut_off, cut_off, transfer,
)  # fmt: skip


def campaign(folder: Path, seconds: float, seed: int) -> tuple[list[str], Counter[str]]:
    """Run it; return what is wrong, and how often what happened."""
    chance = random.Random(seed)
    with LinkedCluster(folder, 3, *OPTIONS) as cluster:
        cluster.start().wait_until_whole()
        eventually(lambda: all(n.status().get("level") == 2 for n in cluster.nodes), "level 2")
        watchers = [
            Watcher(PREFIXES[place % len(PREFIXES)], cluster.nodes, 1000 * seed + place)
            for place in range(WATCHERS)
        ]
        writers = [Writer(place, cluster.nodes) for place in range(WRITERS)]
        for one in (*watchers, *writers):
            one.thread.start()
        end_s = time.monotonic() + seconds
        happened: Counter[str] = Counter()
        while time.monotonic() < end_s:
            fault = chance.choice(FAULTS)
            happened[fault.__name__] += 1
            fault(cluster, chance)
            time.sleep(chance.uniform(0.1, 0.8))
        _end(cluster, watchers, writers)
        for watcher in watchers:
            happened.update(watcher.stream.moves)
    wrong = judge([one.stream for one in watchers], [one.acknowledged for one in writers])
    happened["writes"] = sum(len(one.acknowledged) for one in writers)
    return wrong, happened


def _end(
    cluster: LinkedCluster, watchers: Sequence[Watcher], writers: Sequence[Writer]
) -> None:
    """Let all writes end, and each watcher hear of the last one or of what lies behind it."""
    cluster.heal()
    for writer in writers:
        writer.is_over.set()
    for writer in writers:
        writer.thread.join(60.0)
        assert not writer.thread.is_alive(), "a write is never acknowledged"
    cluster.wait_until_whole()
    last = cluster.leader().status()["last_applied"]
    for watcher in watchers:
        watcher.until = last
        watcher.is_over.set()
    writers[0].write(Told(0, "set", "p0/k1-end", "end"))
    writers[0].write(Told(0, "set", "p1/u-end", "end"))
    writers[0].write(Told(0, "set", "p2/end", "end"))
    for watcher in watchers:
        watcher.thread.join(60.0)
        assert not watcher.thread.is_alive(), f"a watcher never hears of entry {last}"


if __name__ == "__main__":
    drawn = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**6)
    print(f"seed {drawn}")
    with tempfile.TemporaryDirectory() as path:
        problems, counted = campaign(Path(path), float(sys.argv[1]), drawn)
    print(dict(counted))
    print("\n".join(problems) or "every event once, in order, nothing missing")
    sys.exit(bool(problems))
