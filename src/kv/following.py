"""A watch as a machine: it connects, goes on at another node, and sees that a node is silent.

Its steps are carried out by a thread (`watch.py`), by a task of asyncio (`aio_watch.py`), or in a
schedule of simulated nodes. All of them return each event once, by one `WatchCursor`.
"""

from __future__ import annotations

import math
import random
import re
import time
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, Generic

from ..clients.addresses import MEMBERS, Addresses
from ..clients.connection import (
    CONNECT_TIMEOUT_S,
    ClientError,
    Deadline,
    LoginFailed,
    NoLeader,
    Unreachable,
    in_words,
    line_of,
    unreachable,
)
from ..clients.one_node import Connect, HangUp, NextLine, NodeStep, Rest, Send
from ..clients.pool import PARTS
from ..clients.search import NodeTurns
from ..clients.tls import tls_trouble
from ..common.address import Address
from ..common.nocopies import NoCopies
from ..wire.limits import KEY_BYTES
from ..wire.protocol import ProtocolError, split_sender
from ..wire.refusals import TOO_MANY, code_of, refusal_in, sentence_of
from .codec import Data
from .errors import TooManyWatches
from .events import Event, WatchCursor, WatchEnded
from .liveness import MEMBERS_ID, PROBE_ID, PROBE_KEY, Liveness

PAUSES_S = (0.05, 1.0)
LEAST_CONNECT_S = 0.2  # a shorter one would be too short for TLS and a login
SYNC_ID = "3"  # of the watch that shows how far the log is, on the same connection
SYNC_KEY = "raftline/sync"  # after the prefix; nothing is there
_AS_OF = re.compile(r"WATCH response: [0-9]+ keys? as of ([0-9]+)", re.ASCII)
_ENDED = re.compile(r"UNWATCH response: ended after ([0-9]+)", re.ASCII)


Watching = Generator[NodeStep, Any, bool]


class _Sync:
    """The index that a watch has to reach, once a node has answered how far the log is."""

    def __init__(self) -> None:
        self.target: int | None = None
        self.is_ending = False  # the watch was ended there, to learn how far it came


class WatchMachine(Generic[Data]):
    """The state of a watch, and its next steps."""

    def __init__(
        self,
        addresses: Addresses,
        name: str,
        cursor: WatchCursor[Data],
        open_s: float,
        now: Callable[[], float] | None = None,
    ) -> None:
        """Make no connection yet. If no node serves it within `open_s` of the first use, that
        raises why. Once served it goes on until it is closed, also at members that `addresses`
        learns. It begins at a random one of the named nodes, so that many watches are spread."""
        self.name = name
        self.cursor = cursor
        self.ready: deque[Event[Data]] = deque()
        self.is_closed = False
        self._nodes = NodeTurns(random.sample(addresses.named, len(addresses.named)), addresses)
        self._health = addresses.health
        self._now = time.monotonic if now is None else now
        self._open_s = open_s
        self._opening: Deadline | None = None  # until the first node serves it, from its use on
        self._was_served = False
        self._is_open = False
        self._pause_s = PAUSES_S[0]
        self._failed: set[Address] = set()  # since it was served
        self._kept_out: set[Address] = set()  # since one of them let this client in
        self._lasting: set[Address] = set()  # that will not serve it soon either
        self._why_too_many = ""
        self._sync: _Sync | None = None
        self._asked: _Sync | None = None  # the one that awaits an answer on this connection

    @property
    def known(self) -> list[Address]:
        """The nodes at which it may go on."""
        return self._nodes.known

    def take_line(self, until_s: float | None) -> Watching:
        """Take one line; return False if none came in time, or the watch was closed.

        Raises:
            ClientError: no node would serve it; or none did within the time to begin.
        """
        while not self.is_closed:
            try:
                if not self._is_open:
                    yield from self._connect(until_s)
                return (yield from self._take(until_s))
            except (OSError, WatchEnded, ClientError) as problem:
                self._is_open = False
                yield HangUp()
                pause_s = self._move_on(problem)
                left_s = pause_s if until_s is None else max(0.0, until_s - self._now())
                yield Rest(min(pause_s, left_s))
                if until_s is not None and self._now() >= until_s:
                    return False
        return False

    def connect_anew(self) -> None:
        """Go on by a new connection: of this one a line may be lost, or half sent."""
        self._is_open = False

    def sync(self, until_s: float | None) -> Watching:
        """Take lines until all events that were acknowledged before have come; return False if they
        did not in time, or the watch was closed. Raises ClientError as `take_line`."""
        sync = self._sync = _Sync()
        try:
            while not self.is_closed:
                position = self.cursor.position
                if sync.target is not None and position is not None and position >= sync.target:
                    return not sync.is_ending or (yield from self._go_on_after_sync(until_s))
                if not (yield from self.take_line(until_s)):
                    return False
            return False
        finally:
            self._sync = None

    def _go_on_after_sync(self, until_s: float | None) -> Watching:
        """Wait for the answer to the end of the watch, after which it begins again."""
        while self._sync is not None and self._sync.is_ending:
            if not (yield from self.take_line(until_s)):
                return False
        return True

    def _ask_to_sync(self) -> Generator[NodeStep, Any, None]:
        """Ask how far the log is; then end the watch, which shows how far it has come."""
        sync = self._sync
        if sync is None or not self.cursor.is_listed_or_follows:
            return
        if sync.target is None and self._asked is None:  # one that was given up is awaited first
            self._asked = sync
            yield Send(line_of(f"{self.name}#{SYNC_ID}", f"watch {self._below_prefix(SYNC_KEY)}"))
        elif sync.target is not None and not sync.is_ending:
            sync.is_ending = True
            yield Send(line_of(self.name, "unwatch"))

    def _below_prefix(self, key: str) -> str:
        """Return a key that whoever may watch this prefix may read."""
        prefix = self.cursor.prefix
        return f"{prefix}{key}" if len(prefix) + len(key) <= KEY_BYTES else prefix

    def _take_sync(self, text: str) -> Generator[NodeStep, Any, None]:
        """Take a line of the watch that shows how far the log is."""
        if refusal_in(text) is not None:
            raise WatchEnded(text)
        if found := _AS_OF.fullmatch(text):
            if self._asked is not None:
                self._asked.target = int(found[1])
            self._asked = None
            yield Send(line_of(f"{self.name}#{SYNC_ID}", "unwatch"))

    def _connect(self, until_s: float | None) -> Generator[NodeStep, Any, None]:
        address, opening = self._nodes.current, self._begin_opening()
        limit_s = CONNECT_TIMEOUT_S if opening is None else opening.connect_s
        if until_s is not None:
            limit_s = min(limit_s, until_s - self._now())
        limit_s = max(limit_s, LEAST_CONNECT_S)
        try:
            others = self._nodes.besides({address, *self._failed})
            reached = yield Connect(address, limit_s, others)
        except ClientError:
            raise
        except OSError as error:
            raise unreachable(address, error, limit_s) from None
        self._is_open = True
        if reached != address:
            self._nodes.turn_to(reached, address)
        self._asked = None
        if self._sync is not None:
            self._sync.is_ending = False
        self._liveness = Liveness(self._now(), self._health.silence_s)
        self._attempt_s = math.inf if opening is None else opening.attempt_s
        self._attempt_until_s = self._now() + self._attempt_s
        yield from self._ask_for_members()  # before any event, so that they are known then
        yield Send(line_of(self.name, self.cursor.command))

    def _begin_opening(self) -> Deadline | None:
        """Return the time within which a first node has to serve it; None: one did."""
        if self._opening is None and not self._was_served:
            attempt_s = self._open_s / PARTS
            self._opening = Deadline(self._open_s, attempt_s=attempt_s, now=self._now)
        return self._opening

    def _ask_for_members(self) -> Generator[NodeStep, Any, None]:
        if self._nodes.addresses.asks(self._now()):
            yield Send(line_of(f"{self.name}#{MEMBERS_ID}", MEMBERS))

    def _take(self, until_s: float | None) -> Watching:
        liveness = self._liveness
        due_s = min(liveness.due_s, self._attempt_until_s)
        yield from self._ask_for_members()
        yield from self._ask_to_sync()
        try:
            raw = yield NextLine(due_s if until_s is None else min(due_s, until_s))
        except TimeoutError:
            now_s = self._now()
            if now_s >= self._attempt_until_s:
                raise TimeoutError(f"no answer within {self._attempt_s:.3g} s") from None
            if liveness.is_dead(now_s):
                raise WatchEnded("it said nothing for too long") from None
            if liveness.begin_probe(now_s):
                probe = f"get {self._below_prefix(PROBE_KEY)} read index"
                yield Send(line_of(f"{self.name}#{PROBE_ID}", probe))
            return until_s is None or now_s < until_s
        text, number = text_and_id(raw)
        now_s = self._now()
        liveness.heard(now_s)
        yield from self._take_text(text, number, now_s)
        return True

    def _take_text(self, text: str, number: str, now_s: float) -> Generator[NodeStep, Any, None]:
        if number == PROBE_ID:
            if refusal_in(text) is not None:
                raise WatchEnded(text)
            self._liveness.confirmed(now_s)
        elif number == MEMBERS_ID:
            self._nodes.addresses.take(text, now_s)
        elif number == SYNC_ID:
            yield from self._take_sync(text)
        elif ended := _ENDED.fullmatch(text):  # `_ask_to_sync` asked for it
            self.cursor.take(f"EVENT {ended[1]}")
            if self._sync is not None:
                self._sync.is_ending = False
            yield Send(line_of(self.name, self.cursor.command))
        else:
            events = self.cursor.take(text)
            self.ready.extend(events)
            if events or text.startswith("WATCH "):
                self._served(now_s)

    def _served(self, now_s: float) -> None:
        self._liveness.confirmed(now_s)
        self._was_served, self._opening, self._attempt_until_s = True, None, math.inf
        self._pause_s = PAUSES_S[0]
        self._failed.clear()
        self._kept_out.clear()
        self._health.served(now_s)

    def _may_be_let_in(self, problem: ClientError) -> bool:
        """Whether another node may take this client: one that has read its file of users again, if
        the login failed at this one."""
        if not isinstance(problem, LoginFailed):
            return isinstance(problem, Unreachable)
        is_again = self._nodes.current in self._kept_out  # all others had their turn since
        self._kept_out.add(self._nodes.current)
        is_hopeless = is_again or self._kept_out.issuperset(self._nodes.known)
        return not (problem._was_not_tried or is_hopeless)

    def _move_on(self, problem: Exception) -> float:
        """Turn to the next node; return how long to wait before. Raise a problem that each node
        would have."""
        if self.is_closed:
            return 0.0
        if isinstance(problem, ClientError) and not self._may_be_let_in(problem):
            raise problem
        if isinstance(problem, WatchEnded):
            self.cursor.refused(str(problem))
            self._kept_out.clear()
        why, _, lasts = _explained(problem)
        if code_of(str(problem)) == TOO_MANY:
            self._why_too_many = why
        self._failed.add(self._nodes.current)
        if lasts:
            self._lasting.add(self._nodes.current)
        self._nodes.move_on(self._nodes.current, None)
        now_s, where = self._now(), in_words(self._nodes.known)
        is_hopeless = self._lasting.issuperset(self._nodes.known)
        opening = self._opening
        if opening is not None and (isinstance(problem, TimeoutError) or _is_late(problem)):
            opening.was_late()
        if opening is not None and (is_hopeless or not opening.left_s):
            if self._why_too_many:  # others may be down: this one is there, and refuses
                raise TooManyWatches(self._why_too_many) from None
            raise _nobody_serves(problem, where, is_hopeless=is_hopeless) from None
        if code_of(str(problem)) != TOO_MANY and self._failed.issuperset(self._nodes.known):
            self._health.failed(now_s, where, why)
        pause_s = self._pause_s
        self._pause_s = min(PAUSES_S[1], 1.5 * pause_s)
        return pause_s


def _nobody_serves(problem: Exception, where: str, *, is_hopeless: bool) -> ClientError:
    """Return the error of a watch that no node serves, `problem` being the last one's reason."""
    why, advice, _ = _explained(problem)
    if isinstance(problem, WatchEnded):
        return NoLeader(why)
    nobody = Unreachable(f"nobody serves it at {where}. The last: {why.removesuffix('.')}.")
    nobody.advice, nobody.lasts = advice, is_hopeless
    return nobody


def _is_late(problem: Exception) -> bool:
    """Whether the node did not accept a connection in time."""
    return isinstance(problem, ClientError) and problem._within is not None


def _explained(problem: Exception) -> tuple[str, str, bool]:
    """Return why a node did not serve, what a person may do, and whether that stays so."""
    if isinstance(problem, Unreachable):
        return str(problem), problem.advice, problem.lasts
    trouble = tls_trouble(problem) if isinstance(problem, OSError) else None
    if trouble is not None:
        return trouble.why, trouble.advice, True
    return sentence_of(str(problem)), "", code_of(str(problem)) == TOO_MANY


class BaseWatch(NoCopies, Generic[Data]):
    """The part of a watch that waits for nothing."""

    def __init__(self, machine: WatchMachine[Data]) -> None:
        self._machine = machine

    def __repr__(self) -> str:
        state = "closed" if self._machine.is_closed else "open"
        return f"<a watch of {self._machine.name}, {state}>"

    @property
    def position(self) -> int | None:
        """The index after which `kv.watch(after=…)` would go on; None amid the first keys."""
        return self._machine.cursor.position

    @property
    def is_listed(self) -> bool:
        """Whether all keys that existed at its beginning have come."""
        return self._machine.cursor.is_listed

    @property
    def _is_closed(self) -> bool:
        return self._machine.is_closed

    def _take_ready(self) -> list[Event[Data]]:
        """Return the events that have come."""
        events = list(self._machine.ready)
        self._machine.ready.clear()
        return events


def text_and_id(raw: bytes) -> tuple[str, str]:
    """Return the text of a line without the node's name, and its id.

    Raises:
        ConnectionError: no node wrote it.
    """
    try:
        name, number, text = split_sender(raw.decode("utf-8", "surrogateescape"))
    except ProtocolError:
        name = ""
    if not name:
        raise ConnectionError("answered something that is not raftline")
    return text, number
