"""Clients of one cluster for the threads of one program: one connection for each request."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence

from raftline.common.address import Address
from raftline.common.no_copies import NoCopies
from raftline.wire.commands.command_table import row_of
from raftline.wire.replies.refusals import refusal_in

from ..connections.client_access import OPEN_ACCESS, ClientAccess
from ..connections.node_connection import ClientError, Closed, TimedOut
from .addresses import Addresses
from .conversation import Client, name_of_client
from .health import SILENCE_S, ClientHealth, silence_limit
from .search import Answer, check_shared, error_of
from .times import Seconds, seconds_in

TIMEOUT_S = 10.0
LEAST_S = 0.001
CONNECTIONS_MAX = 64  # of one program, each with a session: a cluster keeps 4,096 sessions
CHECK_S = 1.0
LAST_S = 0.5  # for the last requests of a client that closes
PARTS = 8  # of the time: the first node may keep a request for one part, the second for two


def time_limit(timeout: Seconds) -> float:
    """Return a time limit in seconds. Raises TypeError, ValueError if it is invalid."""
    seconds = seconds_in(timeout, "a timeout")
    if not 0 < seconds <= threading.TIMEOUT_MAX:
        raise ValueError(f"a timeout of {seconds} s is invalid: give a number of seconds above 0")
    return float(seconds)


class Clients(NoCopies):
    """Sends requests to a cluster from any number of threads at once; follows its leader.

    A write carries a number of its connection's session, so it takes effect once, even if it is
    sent again. If CONNECTIONS_MAX requests are in flight, a thread waits for one of them to end.
    Another connection would cost a session, which the cluster would take from another client.
    """

    def __init__(
        self,
        *addresses: str,
        name: str = "program",
        timeout: Seconds = TIMEOUT_S,
        access: ClientAccess = OPEN_ACCESS,
        silence: Seconds = SILENCE_S,
    ) -> None:
        """Use the nodes at `addresses`, each `host:port`; the first is asked first. `access` is
        as for a `Client`. After `silence` seconds without a line a watch moves to
        another node.

        Raises:
            ValueError: an address or `name` is invalid, or `silence` is below 1.
        """
        self.name = name_of_client(name)
        self.timeout = time_limit(timeout)
        self.access = access
        if not addresses:
            raise ValueError("no address: name the nodes as host:port")
        health = ClientHealth(silence_limit(silence))
        self.addresses = Addresses(map(Address.parse, addresses), learns=True, health=health)
        self._is_closed = False
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._has_room = threading.Condition(self._lock)
        self._idle: list[Client] = []
        self._living: weakref.WeakSet[Client] = weakref.WeakSet()  # idle ones included

    def __enter__(self) -> Clients:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def request(self, command: str, timeout: Seconds | None = None) -> str:
        """Return the text of the cluster's reply, within `timeout` seconds or slightly more.

        Raises:
            TypeError, ValueError: `timeout` is invalid.
            NoLeader, Unreachable, Refused: nothing was done.
            OutcomeUnknown: it may or may not take effect.
        """
        check_shared(command)
        limit_s = self.timeout if timeout is None else time_limit(timeout)
        is_spare = row_of(command).handling.is_timed and self._is_full
        client = self._made() if is_spare else self._taken(limit_s)
        try:
            return client.request(command)
        finally:
            if is_spare:
                client.close()
            else:
                self._give_back(client)

    def request_together(self, commands: Sequence[str], timeout: float) -> list[str | ClientError]:
        """Return the text of each reply, or its error; all requests are in flight at once on one
        connection. Each request has `timeout` seconds from its start. After a request that found no
        node in time, no further request starts."""
        for command in commands:
            check_shared(command)
        client = self._taken(timeout)
        try:
            return [_text_or_error(answer) for answer in client.ask_together(commands)]
        finally:
            self._give_back(client)

    def send_off(self, command: str, settled: Callable[[str | None], object]) -> bool:
        """Send a request along with the next one, or by `flush`, and await no answer. Return False
        if no connection is idle. `settled` is as for a `Client`."""
        self._check_fork()
        with self._lock:
            if self._is_closed or not self._idle:
                return False
            client = self._idle.pop()
        try:
            return client.send_off(command, settled)
        finally:
            self._give_back(client)

    def flush(self) -> None:
        """Send the requests of `send_off` that no later request has taken along."""
        self._check_fork()
        with self._lock:
            for client in self._idle:
                client.flush()

    @property
    def _is_full(self) -> bool:
        """Whether a request would have to wait for a connection. The renewal of a lease does not
        wait: it gets an extra connection, and needs no session."""
        self._check_fork()
        with self._lock:
            return not self._is_closed and not self._idle and len(self._living) >= CONNECTIONS_MAX

    def close(self, last: Sequence[str] = ()) -> None:
        """Send the `last` requests, and wait at most LAST_S for their replies. Then release all
        sessions, and close all connections; other requests in flight still finish."""
        self._check_fork()
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
            self._has_room.notify_all()
        if last:
            idle = idle or [self._made()]
            idle[-1].timeout_s, idle[-1].attempt_s = LAST_S, LAST_S / PARTS
            with contextlib.suppress(ClientError):
                list(idle[-1].ask_together(last))
        for client in idle:
            client.forget_sessions()

    def _check_fork(self) -> None:
        """Start over in a forked child, with a new lock. Two processes on one connection would mix
        up replies. A thread that does not exist here may have held the lock."""
        if self._process != os.getpid():
            idle = self._idle
            self._reset()
            for client in idle:
                client.close()  # this process's end: the parent still has its own

    def _taken(self, limit_s: float) -> Client:
        """Return a connection, with the remaining time for its request."""
        until_s = time.monotonic() + limit_s
        client = self._take(until_s)
        client.timeout_s = max(until_s - time.monotonic(), LEAST_S)
        client.attempt_s = client.timeout_s / PARTS
        return client

    def _take(self, until_s: float) -> Client:
        """Return an idle connection. Raises Closed, or TimedOut if there is none in time."""
        self._check_fork()
        with self._lock:
            while not self._is_closed and not self._idle and len(self._living) >= CONNECTIONS_MAX:
                left_s = until_s - time.monotonic()
                if left_s <= 0:
                    raise TimedOut(
                        f"{CONNECTIONS_MAX} requests of this program already wait for an answer, "
                        "so nothing was sent"
                    )
                self._has_room.wait(min(CHECK_S, left_s))  # a dropped client does not notify
            if self._is_closed:
                raise Closed("this client was closed, so it can't send requests")
            if self._idle:
                return self._idle.pop()  # the last used one: it knows the latest leader
            client = self._made()
            self._living.add(client)
            return client

    def _give_back(self, client: Client) -> None:
        with self._lock:
            if not self._is_closed:
                self._idle.append(client)
                self._has_room.notify()
                return
        client.forget_sessions()

    def apart(self, timeout_s: float) -> Client:
        """Return a client with a connection of its own, which the caller closes."""
        self._check_fork()
        if self._is_closed:
            raise Closed("this client was closed, so it can't send requests")
        client = self._made()
        client.timeout_s = timeout_s
        return client

    def again(self) -> Clients:
        """Return clients with the same options, of no cluster yet, that know the same nodes."""
        known, silence_s = self.addresses.known, self.addresses.health.silence_s
        return type(self)(
            *map(str, known),
            name=self.name,
            timeout=self.timeout,
            access=self.access,
            silence=silence_s,
        )

    def _made(self) -> Client:
        first, *others = self.addresses.known
        return Client(
            *first,
            self.name,
            follow=True,
            also=others,
            access=self.access,
            addresses=self.addresses,
        )


def _text_or_error(answer: Answer) -> str | ClientError:
    if isinstance(answer, ClientError):
        return answer
    refusal = refusal_in(answer.text)
    return answer.text if refusal is None else error_of(refusal)
