"""`kv.watch()`: an iterator over events, which goes on at another node if one fails."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Generic

from raftline.clients.addresses import MEMBERS, Addresses
from raftline.clients.connection import (
    CONNECT_TIMEOUT_S,
    ClientError,
    NodeConnection,
    NoLeader,
    Unreachable,
    in_words,
    line_of,
    unreachable,
)
from raftline.clients.login import Credentials, log_in
from raftline.clients.search import NodeTurns
from raftline.clients.tls import ClientTls
from raftline.common.nocopies import NoCopies
from raftline.kv.codec import Data
from raftline.kv.events import Event, WatchCursor, WatchEnded
from raftline.kv.liveness import MEMBERS_ID, PROBE, PROBE_ID, Liveness, Outage
from raftline.wire.protocol import ProtocolError, split_sender

PAUSES_S = (0.05, 1.0)
LOG = logging.getLogger("raftline")


def turns_of(addresses: Addresses) -> NodeTurns:
    """Return the nodes for a watch. It begins at a random one of the named nodes, so that many
    watches are spread over them."""
    return NodeTurns(random.sample(addresses.named, len(addresses.named)), addresses)


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


class Watch(NoCopies, Generic[Data], Iterator[Event[Data]]):
    """The events of the keys with a prefix: first the keys that there are, then each change.

    One thread iterates; any may `close` it, which ends the iteration.
    """

    def __init__(
        self,
        addresses: Addresses,
        name: str,
        cursor: WatchCursor[Data],
        open_s: float,
        credentials: Credentials | None = None,
        tls: ClientTls | None = None,
    ) -> None:
        """Make no connection yet. If no node serves it within `open_s`, the first use raises why.
        Once served it goes on until it is closed, also at members that `addresses` learns. The
        log `raftline` reports if it is not served for long."""
        self._nodes = turns_of(addresses)
        self._name = name
        self._credentials = credentials
        self._tls = tls
        self._cursor = cursor
        self._open_s = open_s
        self._give_up_s = 0.0
        self._was_served = False
        self._process = os.getpid()
        self._ready: deque[Event[Data]] = deque()
        self._closed = threading.Event()
        self._connection: NodeConnection | None = None
        self._pause_s = PAUSES_S[0]
        self._outage = Outage()

    def __repr__(self) -> str:
        return f"<a watch of {self._name}, {'closed' if self._closed.is_set() else 'open'}>"

    def __enter__(self) -> Watch[Data]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Watch[Data]:
        return self

    def __next__(self) -> Event[Data]:
        event = self.next_event()
        if event is None:
            raise StopIteration
        return event

    @property
    def position(self) -> int | None:
        """The index after which `kv.watch(after=…)` would go on; None amid the first keys."""
        return self._cursor.position

    def next_event(self, timeout: float | None = None) -> Event[Data] | None:
        """Return the next event; None if none came in `timeout` seconds, or it was closed."""
        until_s = None if timeout is None else time.monotonic() + timeout
        while not self._ready:
            if not self.step(until_s):
                return None
        return self._ready.popleft()

    @property
    def is_listed(self) -> bool:
        """Whether all keys that existed at its beginning have come."""
        return self._cursor.is_listed

    def take_ready(self) -> list[Event[Data]]:
        """Return the events that have come."""
        events = list(self._ready)
        self._ready.clear()
        return events

    def close(self) -> None:
        """End it; the thread that iterates stops. Any thread may."""
        self._closed.set()
        connection = self._connection
        if connection is not None and self._process == os.getpid():
            with contextlib.suppress(OSError):
                connection.socket.shutdown(2)  # wakes the thread that reads
        self._hang_up()

    def step(self, until_s: float | None = None) -> bool:
        """Take one line; return False if none came in time, or the watch was closed."""
        if self._process != os.getpid():
            raise RuntimeError("this watch is of the process that forked; begin one here")
        while not self._closed.is_set():
            try:
                if self._connection is None:
                    self._connect()
                connection = self._connection
                if connection is None:
                    return False
                return self._take(connection, until_s)
            except (OSError, WatchEnded, ClientError) as problem:
                self._hang_up()
                self._move_on(problem, until_s)
                if until_s is not None and time.monotonic() >= until_s:
                    return False
        return False

    def _connect(self) -> None:
        address = self._nodes.current
        if not self._was_served and self._open_s > 0:
            self._give_up_s = time.monotonic() + self._open_s
            self._open_s = 0.0
        try:
            connection = NodeConnection(address, CONNECT_TIMEOUT_S, self._tls)
        except OSError as error:
            raise unreachable(address, error, CONNECT_TIMEOUT_S) from None
        self._connection = connection
        self._liveness = Liveness(time.monotonic())
        if self._closed.is_set():  # meanwhile
            raise ConnectionError("this watch was closed")
        if self._credentials is not None:
            log_in(connection, self._credentials, self._name, CONNECT_TIMEOUT_S)
        self._ask_for_members(connection)  # before any event, so that they are known then
        connection.send(line_of(self._name, self._cursor.command))

    def _ask_for_members(self, connection: NodeConnection) -> None:
        if self._nodes.addresses.asks(time.monotonic()):
            connection.send(line_of(f"{self._name}#{MEMBERS_ID}", MEMBERS))

    def _take(self, connection: NodeConnection, until_s: float | None) -> bool:
        liveness = self._liveness
        due_s = liveness.due_s
        self._ask_for_members(connection)
        try:
            raw = connection.read(due_s if until_s is None else min(due_s, until_s))
        except TimeoutError:
            now_s = time.monotonic()
            if liveness.is_dead(now_s):
                raise WatchEnded("it said nothing for too long") from None
            if liveness.begin_probe(now_s):
                connection.send(line_of(f"{self._name}#{PROBE_ID}", PROBE))
            return until_s is None or now_s < until_s
        text, number = text_and_id(raw)
        now_s = time.monotonic()
        liveness.heard(now_s)
        if number == PROBE_ID:
            if text.startswith("Sorry, "):
                raise WatchEnded(text)
            liveness.confirmed(now_s)
            return True
        if number == MEMBERS_ID:
            self._nodes.addresses.take(text, now_s)
            return True
        events = self._cursor.take(text)
        self._ready.extend(events)
        if events or text.startswith("WATCH "):
            liveness.confirmed(now_s)
            self._was_served = True
            self._pause_s = PAUSES_S[0]
            if line := self._outage.served(now_s):
                LOG.warning(line)
        return True

    def _move_on(self, problem: Exception, until_s: float | None) -> None:
        """Turn to the next node. Raise a problem that each node would have."""
        if self._closed.is_set():
            return
        if isinstance(problem, ClientError) and not isinstance(problem, Unreachable):
            raise problem
        if isinstance(problem, WatchEnded):
            self._cursor.refused(str(problem))
        self._nodes.move_on(self._nodes.current, None)
        now_s = time.monotonic()
        if not self._was_served and now_s >= self._give_up_s:
            raise self._unserved(problem) from None
        if self._was_served:
            where = in_words(self._nodes.known)
            if line := self._outage.failed(now_s, where, str(problem)):
                LOG.warning(line)
        pause_s = self._pause_s
        self._pause_s = min(PAUSES_S[1], 1.5 * pause_s)
        self._closed.wait(pause_s if until_s is None else min(pause_s, max(0, until_s - now_s)))

    def _unserved(self, problem: Exception) -> ClientError:
        if isinstance(problem, WatchEnded):
            return NoLeader(str(problem).removeprefix("Sorry, "))
        where = in_words(self._nodes.known)
        return Unreachable(f"nobody serves it at {where}. The last: {problem}")

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self._hang_up()

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
