"""The faults in force at one node, and the filter that its messages to peers pass (verbs: control).

Everything acts at this node alone, on what it says to its peers and hears from them; clients are
served as ever. A fault needs nothing from the other side: who neither speaks nor hears is cut off.
docs/learn/controller.md is the user's view.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from raftline.net.host import Origin
from raftline.raft.chunks import InstallSnapshot
from raftline.raft.messages import AppendEntries, Message

EVERYBODY = ""  # in place of a peer's name
DELAYED_BYTES_MAX = 64 << 20  # of messages under way; more are lost, as on a line that is full
MESSAGE_BYTES = 1 << 10  # what a message takes beside its line, generously


@dataclass(frozen=True)
class Table:
    """The faults in force; replaced as a whole, so that a reader needs no lock."""

    cut_off: tuple[str, ...] = ()  # in the order in which they were named
    drop_percent: Mapping[str, int] = field(default_factory=dict)
    delay_ms: Mapping[str, int] = field(default_factory=dict)
    skips_replication: bool = False
    heartbeat_ms: int = 0  # 0: as the node's pace has it

    def without(self, names: Sequence[str]) -> Table:
        """Return what is left once everything about these peers has ended."""
        return replace(
            self,
            cut_off=tuple(name for name in self.cut_off if name not in names),
            drop_percent=_without(self.drop_percent, names),
            delay_ms=_without(self.delay_ms, names),
        )

    def described(self) -> list[str]:
        """Return the faults, each as the verb that brings it about."""
        lines = [f"PARTITION {' '.join(self.cut_off)}"] if self.cut_off else []
        lines += [f"DROP {n}% {name}".rstrip() for name, n in self.drop_percent.items()]
        lines += [f"DELAY {n}ms {name}".rstrip() for name, n in self.delay_ms.items()]
        if self.skips_replication:
            lines.append("SKIP-REPLICATION on")
        if self.heartbeat_ms:
            lines.append(f"HEARTBEAT {self.heartbeat_ms}ms")
        return lines


class Later:
    """A queue of acts in the order of their times; those of one time in the order they came.

    Acts that hold data say how much; of that there is at most `room_bytes`.
    """

    def __init__(self, name: str, room_bytes: int) -> None:
        self._name = name
        self._room_bytes = room_bytes  # what is left
        self._changed = threading.Condition()
        self._acts: list[tuple[float, int, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    def at(self, wait_s: float, act: Callable[[], None], size: int = 0) -> bool:
        """Have `act` done in `wait_s` seconds, from a thread of this object's own; return False,
        and never do it, where there is no room for the `size` bytes that it holds. An OSError of
        it is nobody's concern: the connection that it was meant for is gone."""
        with self._changed:
            if size > self._room_bytes:
                return False
            self._room_bytes -= size
            due_s = time.monotonic() + wait_s
            heapq.heappush(self._acts, (due_s, next(self._numbers), size, act))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify()
        return True

    def _run(self) -> None:
        while True:
            act = self._next()
            with contextlib.suppress(OSError):
                act()

    def _next(self) -> Callable[[], None]:
        with self._changed:
            while True:
                wait_s = self._acts[0][0] - time.monotonic() if self._acts else None
                if wait_s is not None and wait_s <= 0:
                    _, _, size, act = heapq.heappop(self._acts)
                    self._room_bytes += size
                    return act
                self._changed.wait(wait_s)


class Faults:
    """The filter for messages that leave and arrive, once a fault is `in_force`."""

    def __init__(
        self,
        name: str,
        chance: Callable[[], float] = random.random,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._name = name
        self._chance = chance  # from [0, 1)
        self._say = say
        self._has_told = False  # that delayed messages are lost, under this table
        self._later = Later(f"{name} faults", DELAYED_BYTES_MAX)
        self._lock = threading.Lock()
        self.table = Table()
        self.in_force = False

    def change(self, make: Callable[[Table], Table]) -> Table:
        """Put in force what `make` makes of what is, and return it."""
        with self._lock:
            self.table = make(self.table)
            self._has_told = False
            self.in_force = self.table != Table()
            return self.table

    def after(self, wait_s: float, act: Callable[[], None]) -> None:
        """Have `act` done in so many seconds."""
        self._later.at(wait_s, act)

    def cuts_off(self, peer: str) -> bool:
        """Whether nothing is heard from `peer`, nor said to it."""
        return peer in self.table.cut_off

    def send(self, message: Message, act: Callable[[], None], line_bytes: int = 0) -> None:
        """Carry out `act`, which sends `message`, as the faults have it: now, later or never.

        What is to be sent later is held until then: `line_bytes` of it, and what a message takes.
        """
        table, peer = self.table, message.to
        if peer in table.cut_off or (table.skips_replication and _replicates(message)):
            return
        percent = table.drop_percent.get(peer, table.drop_percent.get(EVERYBODY, 0))
        if percent and self._chance() * 100 < percent:
            return
        delay_ms = table.delay_ms.get(peer, table.delay_ms.get(EVERYBODY, 0))
        if delay_ms:
            if not self._later.at(delay_ms / 1000, act, line_bytes + MESSAGE_BYTES):
                self._tell_of_loss()
        else:
            act()

    def _tell_of_loss(self) -> None:
        if not self._has_told:
            self._has_told = True
            self._say(
                f"[!] {self._name}: {DELAYED_BYTES_MAX >> 20} MiB of messages are delayed already; "
                "until some have left, further ones are lost"
            )

    def around(self, origin: Origin | None) -> Origin | None:
        """Return `origin` with the faults between it and whoever answers it."""
        return None if origin is None else _Faulty(self, origin)


class _Faulty:
    """An origin whose answers pass the faults that are in force when they are given."""

    def __init__(self, faults: Faults, origin: Origin) -> None:
        self._faults = faults
        self._origin = origin

    def answer(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._faults.send(message, partial(self._origin.answer, [message]))


def _replicates(message: Message) -> bool:
    """Whether a follower would learn entries from this; a heartbeat has none."""
    return isinstance(message, InstallSnapshot) or (
        isinstance(message, AppendEntries) and bool(message.entries)
    )


def _without(numbers: Mapping[str, int], names: Sequence[str]) -> dict[str, int]:
    return {name: number for name, number in numbers.items() if name not in names}
