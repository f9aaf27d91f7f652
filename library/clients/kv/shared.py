"""The parts that a client shares with its views, which have other time limits; and the transport
that carries out the calls of a program."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from raftline.common.errors import RaftlineError

from ..calls.calls import Call
from ..calls.listeners import ThreadListeners
from ..calls.value_codec import Data
from ..connections.node_connection import ClientError, Closed
from ..leases.gates import Gates
from ..leases.lease import Keeper
from ..requests.pool import Clients
from ..requests.times import Seconds
from ..watches.watch import Watch
from ..watches.watch_events import WatchCursor

Result = TypeVar("Result")
CLOSED = "this client was closed, so it can't send requests"


class Shared:
    """The connections, the watches and the lease thread of one client."""

    def __init__(self, clients: Clients) -> None:
        self.clients = clients
        self.keeper: Keeper | None = None
        self.gates = Gates()
        self.is_closed = False
        self.listeners = ThreadListeners(clients.addresses.health, clients.name)
        self._watches: weakref.WeakSet[Watch[Any]] = weakref.WeakSet()
        self._process = os.getpid()
        self._lock = threading.RLock()

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """The lock of this process. A lock that is held at a fork would never be released in the
        child."""
        if self._process != os.getpid():
            self._process, self._lock = os.getpid(), threading.RLock()
        return self._lock

    def watch(self, cursor: WatchCursor[Data], open_s: float) -> Watch[Data]:
        """Return a watch that ends with the client."""
        clients = self.clients
        watch = Watch(clients.addresses, clients.name, cursor, open_s, clients.access)
        with self.lock:
            if self.is_closed:
                raise Closed("this client was closed, so it can't watch")
            self._watches.add(watch)
        return watch

    def close(self) -> None:
        """Close the connections, watches and threads. Waiting calls leave the line; leases of what
        is held expire."""
        with self.lock:
            self.is_closed = True
            watches = list(self._watches)
        for watch in watches:
            watch.close()
        self.clients.close(last=[] if self.keeper is None else self.keeper.close())
        self.listeners.close()


class ThreadTransport:
    """Carries out the calls of one client, each within its time limit."""

    def __init__(self, shared: Shared, timeout: float) -> None:
        self._shared = shared
        self.gates = shared.gates
        self.timeout = timeout

    @property
    def was_served(self) -> bool:
        """Whether a node has ever served this client."""
        return self._shared.clients.addresses.health.was_served

    def request(self, command: str, timeout: Seconds | None = None) -> str:
        """Return the text of the reply to a line."""
        if self._shared.is_closed:
            raise Closed(CLOSED)
        return self._shared.clients.request(command, self.timeout if timeout is None else timeout)

    def request_together(self, commands: Sequence[str]) -> list[str | ClientError]:
        """Return the text of each reply, or its error; all requests are in flight at once."""
        if self._shared.is_closed:
            raise Closed(CLOSED)
        return self._shared.clients.request_together(commands, self.timeout)

    def send_off(self, command: str, settled: Callable[[str | None], object]) -> bool:
        """Send a request along with the next one, or by `flush`, and await no answer; return False
        if no connection is there. `settled` gets the text of the answer later, None if there is
        none."""
        if self._shared.is_closed:
            raise Closed(CLOSED)
        return self._shared.clients.send_off(command, settled)

    def flush(self) -> None:
        """Send the requests of `send_off` that no later request has taken along."""
        self._shared.clients.flush()

    def ask(self, call: Call[Result], timeout: Seconds | None = None) -> Result:
        """Carry out a call, and return the result that its reply stands for."""
        try:
            return call.read(self.request(call.command, timeout))
        except RaftlineError as error:
            raise call.failure(error) from None
