"""Holders of leases over real sockets, and the check that none of their leases ends early.

All of them want the key `held`. Its holder may keep it until SECONDS after it first sent the
request that was answered last, by the clock that runs while this machine sleeps. So no two may hold
it at a time. An observer reads the key throughout: it must exist while it is held.
"""

from __future__ import annotations

import json
import random
import threading
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from raftline.clients.requests.line_connection import LineConnection

from ..nodes.cluster import NodeProcess

KEY = "held"
PATIENCE_S = 1.0
PAUSE_S = 0.02
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now_s() -> float:
    return time.clock_gettime(_CLOCK)


@dataclass
class Hold:
    """A period in which a holder believed that it held the key."""

    lease: str
    begin_s: float  # the answer came
    until_s: float  # by the last answer
    seconds: int = 0
    renewed_s: float = 0.0  # the last answer, to the grant or a renewal, came
    is_sure: bool = True  # each renewal was sent once and answered: none arrives later


@dataclass
class Look:
    """A read of the key: its value at some moment between the two times."""

    asked_s: float
    answered_s: float
    lease: str  # "" if there was no key
    term: int = 0  # the term of the node that answered, or a later one; 0: unknown


@dataclass
class Notes:
    """All observations of the holders and the observer."""

    holds: list[Hold] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def findings(self) -> list[str]:
        """Return each moment at which a lease had ended and was still held."""
        problems = []
        holds = sorted(self.holds, key=lambda hold: hold.begin_s)
        for place, hold in enumerate(holds):
            for later in holds[place + 1 :]:
                if later.begin_s >= hold.until_s:
                    break
                problems.append(f"two hold the key at {later.begin_s:.3f}: {hold} and {later}")
            for look in self.looks:
                is_within = hold.begin_s <= look.asked_s and look.answered_s < hold.until_s
                if is_within and look.lease != hold.lease:
                    problems.append(f"{hold} was gone: {look}")
        return problems


class Speaker:
    """A client that asks the leader until it gets an answer or must stop."""

    def __init__(self, nodes: Sequence[NodeProcess], seed: str, stop: threading.Event) -> None:
        self.chance = random.Random(seed)
        self.stop = stop
        self.failed = 0  # tries that were not answered, or refused
        self._nodes = nodes
        self._connection: LineConnection | None = None

    def ask(self, line: str, until_s: float = float("inf")) -> str:
        """Return the answer; "" if none came in time."""
        while not self.stop.is_set() and now_s() < until_s:
            try:
                if self._connection is None:
                    node = self.chance.choice(list(self._nodes))
                    self._connection = node.connect(PATIENCE_S)
                reply = self._connection.ask(line).partition("@")[2]
            except OSError:
                reply = "Sorry, nobody answered"
            if reply and not reply.startswith("Sorry, "):
                return reply
            self.failed += 1
            self.hang_up()
            self.stop.wait(PAUSE_S * self.chance.random())
        return ""

    def hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


class Holder:
    """A client that gets a lease and the key, holds it for some time, and then releases it or falls
    silent."""

    def __init__(
        self, name: str, nodes: Sequence[NodeProcess], notes: Notes, stop: threading.Event
    ) -> None:
        self._name = name
        self._notes = notes
        self._stop = stop
        self._speaker = Speaker(nodes, name, stop)

    def run(self) -> None:
        """Repeat until asked to stop."""
        while not self._stop.is_set():
            self._try()
        self._speaker.hang_up()

    def _try(self) -> None:
        """Use one lease, from its grant to its end."""
        seconds = self._speaker.chance.choice((1, 2))
        sent_s = now_s()
        granted = self._speaker.ask(f"lease {seconds}", sent_s + seconds)
        until_s = sent_s + seconds
        lease = granted.removeprefix("LEASE response: ").partition(" ")[0]
        if not lease:
            return
        reply = self._speaker.ask(f"under {lease} setnx {KEY} {lease}", until_s)
        begin_s = now_s()
        if reply.startswith("SETNX response: ") and begin_s < until_s:
            self._hold(Hold(lease, begin_s, until_s, seconds, begin_s))
        else:
            self._speaker.ask(f"release {lease}", now_s() + 1)

    def _hold(self, hold: Hold) -> None:
        notes, speaker, seconds = self._notes, self._speaker, hold.seconds
        notes.counts["holds"] += 1
        for _ in range(speaker.chance.choice((0, 1, 4, 12))):
            self._stop.wait(seconds / 3 * speaker.chance.random())
            sent_s, failed = now_s(), speaker.failed
            reply = speaker.ask(f"renew {hold.lease}", hold.until_s)
            hold.renewed_s = now_s()
            hold.is_sure = hold.is_sure and bool(reply) and speaker.failed == failed
            if not reply or now_s() >= hold.until_s:
                notes.counts["lost"] += 1
                break
            if not reply.startswith("RENEW response: "):
                if now_s() < hold.until_s:
                    notes.problems.append(f"{hold} at {now_s()}: {reply}")
                break
            notes.counts["renewed"] += 1
            hold.until_s = max(hold.until_s, sent_s + seconds)
        if speaker.chance.random() < 0.5:
            hold.until_s = min(hold.until_s, now_s())  # it stops holding, then sends the release
            notes.holds.append(hold)
            speaker.ask(f"release {hold.lease}", now_s() + 1)
        else:
            notes.counts["fell silent"] += 1
            notes.holds.append(hold)


class Observer:
    """A client that reads the key again and again."""

    def __init__(self, nodes: Sequence[NodeProcess], notes: Notes, stop: threading.Event) -> None:
        self._notes = notes
        self._stop = stop
        self._speaker = Speaker(nodes, "observer", stop)

    def run(self) -> None:
        while not self._stop.is_set():
            asked_s = now_s()
            reply = self._speaker.ask(f"get {KEY}")
            word, _, value = reply.partition(": ")
            if reply:
                lease = value if word == "GET response" else ""
                answered_s = now_s()
                self._notes.looks.append(Look(asked_s, answered_s, lease, self._term()))
            self._stop.wait(PAUSE_S)
        self._speaker.hang_up()

    def _term(self) -> int:
        """Return the term of the node that answered last; 0 if it doesn't answer again."""
        failed = self._speaker.failed
        status = self._speaker.ask("status").partition(": ")[2]
        return int(json.loads(status)["term"]) if status and self._speaker.failed == failed else 0


class Holders:
    """Holders and an observer in threads of their own; leaving it stops them all."""

    def __init__(self, nodes: Sequence[NodeProcess], count: int) -> None:
        self.notes = Notes()
        self._stop = threading.Event()
        runs = [Holder(f"holder{n}", nodes, self.notes, self._stop).run for n in range(count)]
        runs.append(Observer(nodes, self.notes, self._stop).run)
        self._threads = [
            threading.Thread(target=self._guarded, args=(run,), daemon=True) for run in runs
        ]

    def _guarded(self, run: object) -> None:
        try:
            run()  # type: ignore[operator]
        except BaseException:
            self.notes.problems.append(traceback.format_exc())

    def __enter__(self) -> Notes:
        for thread in self._threads:
            thread.start()
        return self.notes

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)
