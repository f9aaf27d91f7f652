"""The faults in force at one node: the verbs that cause them, and the filter for its messages.

Everything acts only at this node, on messages to and from its peers; clients are served as usual.
A fault needs nothing from the other side: a node that neither sends nor receives is cut off.
course/docs/controller.md is the view of the user.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import random
import re
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from raftline.net.protocol.host import Origin
from raftline.raft.messages import AppendEntries, InstallSnapshot, Message
from raftline.wire.protocol import ProtocolError, shown
from raftline.wire.refusal import NOT_CHANGED
from raftline_course.controller.orders import FAULT_FORMS

EVERYBODY = ""  # instead of a peer's name
DELAYED_BYTES_MAX = 64 << 20  # of delayed messages; more are lost, as on a full link
MESSAGE_BYTES = 1 << 10  # a generous overhead of a message in addition to its line
IN_FORCE = "in force: "
TIME_MS_MAX = 3_600_000
_PERCENT = re.compile(r"(100|[0-9]{1,2})%", re.ASCII)
_TIME = re.compile(r"([0-9]{1,7})(?:\.([0-9]{1,3}))?(ms|s)", re.ASCII)


@dataclass(frozen=True)
class Table:
    """The faults in force; replaced as a whole, so that a reader needs no lock."""

    cut_off: tuple[str, ...] = ()  # in the order of their orders
    drop_percent: Mapping[str, int] = field(default_factory=dict)
    delay_ms: Mapping[str, int] = field(default_factory=dict)
    skips_replication: bool = False
    heartbeat_ms: int = 0  # 0: the node's own pace

    def without(self, names: Sequence[str]) -> Table:
        """Return the table without the faults of these peers."""
        return replace(
            self,
            cut_off=tuple(name for name in self.cut_off if name not in names),
            drop_percent=_without(self.drop_percent, names),
            delay_ms=_without(self.delay_ms, names),
        )

    def described(self) -> list[str]:
        """Return the faults, each as the verb that causes it."""
        lines = [f"PARTITION {' '.join(self.cut_off)}"] if self.cut_off else []
        lines += [f"DROP {n}% {name}".rstrip() for name, n in self.drop_percent.items()]
        lines += [f"DELAY {n}ms {name}".rstrip() for name, n in self.delay_ms.items()]
        if self.skips_replication:
            lines.append("SKIP-REPLICATION on")
        if self.heartbeat_ms:
            lines.append(f"HEARTBEAT {self.heartbeat_ms}ms")
        return lines


class Later:
    """A queue of actions in the order of their times; actions of the same time run in order of
    arrival.

    Actions that hold data report how much; the queue holds at most `room_bytes` of data.
    """

    def __init__(self, name: str, room_bytes: int) -> None:
        self._name = name
        self._room_bytes = room_bytes  # the remaining room
        self._changed = threading.Condition()
        self._acts: list[tuple[float, int, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    def at(self, wait_s: float, act: Callable[[], None], size: int = 0) -> bool:
        """Run `act` in `wait_s` seconds, in this object's thread; return False, and never run it,
        if there is no room for its `size` bytes. An OSError of it is ignored: its connection is
        gone."""
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
    """The filter for sent and received messages, once a fault is `in_force`."""

    def __init__(
        self,
        name: str,
        chance: Callable[[], float] = random.random,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._name = name
        self._chance = chance  # from [0, 1)
        self._say = say
        self._has_reported = False  # that this table loses delayed messages
        self._later = Later(f"{name} faults", DELAYED_BYTES_MAX)
        self._lock = threading.Lock()
        self.table = Table()
        self.in_force = False

    def change(self, make: Callable[[Table], Table]) -> Table:
        """Replace the table by the result of `make`, and return it."""
        with self._lock:
            self.table = make(self.table)
            self._has_reported = False
            self.in_force = self.table != Table()
            return self.table

    def after(self, wait_s: float, act: Callable[[], None]) -> None:
        """Run `act` in `wait_s` seconds."""
        self._later.at(wait_s, act)

    def cuts_off(self, peer: str) -> bool:
        """Whether all messages from and to `peer` are dropped."""
        return peer in self.table.cut_off

    def send(self, message: Message, act: Callable[[], None], line_bytes: int = 0) -> None:
        """Run `act`, which sends `message`, as the faults demand: now, later or never.

        A delayed message is held until then: its `line_bytes`, and the overhead of a message.
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
                self._report_loss()
        else:
            act()

    def _report_loss(self) -> None:
        if not self._has_reported:
            self._has_reported = True
            self._say(
                f"[!] {self._name}: {DELAYED_BYTES_MAX >> 20} MiB of messages are delayed already; "
                "until some have left, further ones are lost"
            )

    def around(self, origin: Origin | None) -> Origin | None:
        """Return `origin` wrapped with the faults for answers to it."""
        return None if origin is None else _Faulty(self, origin)


class _Faulty:
    """An origin whose answers pass the faults in force at that time."""

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


class Fault(NamedTuple):
    """A change of the faults in force, for a number of milliseconds; 0: without end."""

    change: Callable[[Table], Table]
    for_ms: int = 0


def read_fault(verb: str, words: Sequence[str], peers: Collection[str]) -> Fault:
    """Parse the fault that a line requests from a server with these peers.

    Raises:
        ProtocolError: it doesn't have the verb's form, or names a server that isn't a peer.
    """
    match verb, *words:
        case "PARTITION", _, *_:
            names = _peers(words, peers)
            return Fault(lambda t: replace(t, cut_off=tuple(dict.fromkeys([*t.cut_off, *names]))))
        case ("HEAL",):
            return Fault(lambda _: Table())
        case "HEAL", *_:
            names = _peers(words, peers)
            return Fault(lambda table: table.without(names))
        case "DROP", percent, *names if _PERCENT.fullmatch(percent):
            names, number = _peers(names, peers), int(percent[:-1])
            return Fault(lambda t: replace(t, drop_percent=_put(t.drop_percent, names, number)))
        case "DELAY", time, *names if _TIME.fullmatch(time):
            names, number = _peers(names, peers), _ms(time)
            return Fault(lambda t: replace(t, delay_ms=_put(t.delay_ms, names, number)))
        case "SKIP-REPLICATION", ("on" | "off") as state:
            return Fault(lambda table: replace(table, skips_replication=state == "on"))
        case "HEARTBEAT", "normal":
            return Fault(lambda table: replace(table, heartbeat_ms=0))
        case "HEARTBEAT", time, *ending if _TIME.fullmatch(time) and _ms(time):
            number = _ms(time)
            return Fault(lambda t: replace(t, heartbeat_ms=number), _for_ms(ending))
    raise _mistake(f"the form is: {FAULT_FORMS[verb]}")


def _for_ms(ending: Sequence[str]) -> int:
    match ending:
        case []:
            return 0
        case ["for", time] if _TIME.fullmatch(time) and _ms(time):
            return _ms(time)
    raise _mistake(f"the form is: {FAULT_FORMS['HEARTBEAT']}")


def _ms(text: str) -> int:
    """Parse `200ms`, `20s` or `0.5s` into milliseconds."""
    match = _TIME.fullmatch(text)
    whole, part, unit = match.groups() if match else ("", "", "")
    milliseconds = int(whole)
    if unit == "s":
        milliseconds = 1000 * milliseconds + int((part or "").ljust(3, "0"))
    if milliseconds > TIME_MS_MAX:
        raise _mistake(f"{shown(text)} is longer than an hour")
    return milliseconds


def _peers(names: Sequence[str], peers: Collection[str]) -> list[str]:
    for name in names:
        if name not in peers:
            has = f"it has {' '.join(sorted(peers))}" if peers else "it has none"
            raise _mistake(f"{shown(name)} is not a peer of this server; {has}")
    return list(names)


def _put(numbers: Mapping[str, int], names: Sequence[str], number: int) -> dict[str, int]:
    """Return `numbers` with this one for each name; without a name it applies to all peers and
    replaces all earlier ones. 0 ends it."""
    if not names:
        return {EVERYBODY: number} if number else {}
    changed = {**numbers, **dict.fromkeys(names, number)}
    everybody = changed.get(EVERYBODY, 0)
    return {name: n for name, n in changed.items() if n or (everybody and name != EVERYBODY)}


def _mistake(what: str) -> ProtocolError:
    return ProtocolError(NOT_CHANGED(f"{what}. Nothing was changed"))
