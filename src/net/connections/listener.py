"""The listening socket, and a thread for each accepted connection."""

from __future__ import annotations

import _thread
import contextlib
import errno
import select
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from ...access.tls_socket import TlsSocket
from ...common.config import PortRefused
from ...common.process.guarded_thread import guarded_thread
from ...wire.limits import (
    HALF_LINES_BYTES,
    LINE_S,
    PLACES_FOR_PEERS,
)
from ..line_reader import HalfLines, prepare
from ..protocol.doors import Door
from ..protocol.host import Batch, Host
from .connection import Connection
from .connection_slots import Places
from .file_limit import places_for
from .shared_reader import CROWDS, SharedReader

USERS_GIVE_WAY = (
    "users have taken their share of the connections (--max-connections); the user with the most"
    " of them loses the newest ones"
)
EVERY_PLACE_TAKEN = (
    "all connections are in use (--max-connections); the ones that have sent nothing, or have not"
    " logged in, for the longest time are closed"
)
COMPLAINT_PAUSE_S = 60.0
CLOSE_S = 5.0  # the longest wait for the end of the accepting thread
AT_ONCE = 1024  # connections that are accepted before the first of them is served
SWITCH_S = 20e-6  # the switch interval for each connection; see `switch_interval_s`
USUAL_SWITCH_S = sys.getswitchinterval()


class Listener:
    """Takes the port at once, so that a port in use is detected before any file is touched; accepts
    connections once there is a server to serve them."""

    def __init__(
        self,
        host: str,
        port: int,
        connections_max: int,
        io: str = "auto",
        half_lines_bytes: int = HALF_LINES_BYTES,
        other_files: int = 0,
    ) -> None:
        """Take the port; `io` is one of `IO_MODES`. The listener accepts as many connections as
        this process may have open in addition to `other_files`, at most `connections_max`.

        Raises:
            ConfigError: these would be too few.
            PortRefused: the port is not available.
        """
        self.connections_max = connections_max = places_for(connections_max, other_files)
        self._places: Places[Connection] = Places(connections_max)
        self._half_lines = HalfLines(half_lines_bytes)
        self._io = io
        self._shared_reader: SharedReader | None = None
        self._lock = threading.Lock()
        self._taken: list[Connection] = []  # accepted and not started; of the accepting thread
        self._errands: deque[Callable[[], None]] = deque()  # of the accepting thread
        self._closing = threading.Event()
        self._taker: threading.Thread | None = None
        self._complained_s: dict[str, float] = {}  # the time of the last complaint, by kind
        self._gone = (0, 0, 0)  # connections that ended, and the bytes that they read and sent
        try:
            info = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            self._socket = socket.socket(info[0], socket.SOCK_STREAM)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(info[4])
            # If this queue is full, a new connection is delayed by one or three seconds.
            self._socket.listen(connections_max + PLACES_FOR_PEERS)
            self._socket.setblocking(False)
            self._bell, self._bell_end = socket.socketpair()  # rung by a thread with an errand
            self._bell.setblocking(False)
        except OSError as error:
            with contextlib.suppress(AttributeError):  # no such host
                self._socket.close()
            if error.errno == errno.EADDRINUSE:
                raise PortRefused(
                    f"port {port} on {host} is in use: another node or program listens there; "
                    f"stop it (`ss -ltnp sport = :{port}` names it) or choose another port"
                ) from None
            raise PortRefused(f"can't listen on {host} port {port}: {error.strerror}") from None

    @property
    def bound(self) -> str:
        """The IP address of the listening socket."""
        return str(self._socket.getsockname()[0])

    def traffic(self) -> tuple[int, int, int, int]:
        """Return how many connections are open, how many have been accepted in all, and how many
        bytes they have read and sent."""
        with self._lock:
            sizes = [connection.bytes_moved for connection in self._places.all]
            ended, read, sent = self._gone
        read, sent = read + sum(one[0] for one in sizes), sent + sum(one[1] for one in sizes)
        return len(sizes), ended + len(sizes), read, sent

    def open(self, host: Host, doors: Sequence[Door] = ()) -> None:
        """Accept connections from now on, in a separate thread. `doors` are the protocols that the
        node speaks besides lines."""

        def submit(*batches: Batch, more_come: bool) -> None:
            host.submit(*batches, more_come=more_come)  # looked up late: a restart replaces it

        self._host, self._doors = host, doors
        if self._io in CROWDS and hasattr(select, "epoll"):  # Linux has it
            self._shared_reader = SharedReader(submit, CROWDS[self._io], host.warn)
        taker = guarded_thread(self._accept, f"{host.name} accept", host.fail)
        taker.start()
        self._taker = taker

    def close(self) -> None:
        """Stop accepting connections; the port is free at once."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        if self._taker is not None:  # or it would accept from the next owner of this descriptor
            self._taker.join(CLOSE_S)
        self._socket.close()
        with self._lock:  # no thread rings now, and a later one finds the bell closed
            self._bell.close()
            self._bell_end.close()
        if self._shared_reader is not None:
            self._shared_reader.close()

    def _all_open(self) -> list[Connection]:
        """Return the connections that are open now, as a copy: using one may end it."""
        with self._lock:
            return self._places.all

    def end_connections(self, *, but_controllers: bool = False) -> None:
        """End every open connection."""
        for connection in self._all_open():
            if not (but_controllers and connection.is_control):
                connection.break_off()

    def run_soon(self, errand: Callable[[], None]) -> None:
        """Call `errand`, which must not wait for a client, in the accepting thread. Any thread may
        call this, also with `core` held."""
        self._errands.append(errand)
        with self._lock, contextlib.suppress(OSError):  # it rings already, or is closed
            self._bell_end.send(b"!", socket.MSG_DONTWAIT)

    def rights_changed(self) -> None:
        """Make every connection check the rights of its user again."""
        for connection in self._all_open():
            connection.rights_changed()

    def secret_changed(self) -> None:
        """Make every connection check whether its proof is still valid."""
        for connection in self._all_open():
            connection.secret_changed()

    def certificates_revoked(self) -> None:
        """Make every connection check whether its certificate may be revoked."""
        for connection in self._all_open():
            connection.certificates_revoked()

    def give_up_late(self, before_ms: int) -> None:
        """Answer unanswered requests from before this time; with the driver's `core` held."""
        for connection in self._all_open():
            connection.outgoing.give_up_late(before_ms)

    def _accept(self) -> None:
        """Accept all waiting connections; then start their threads; then wait for more.

        A serving thread needs the interpreter repeatedly. With a thousand of them, a
        connection that is not accepted yet would wait for seconds (docs/develop/speed.md).
        """
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        waiting.register(self._bell, select.POLLIN)
        while not self._closing.is_set():
            self._run_errands()
            try:
                self._take(*self._socket.accept())
            except BlockingIOError:
                self._begin_taken()
                waiting.poll()  # ended by `close`, too
                with contextlib.suppress(BlockingIOError):  # it did not ring
                    self._bell.recv(1 << 10)
            except Exception as error:  # out of descriptors, for example
                self._begin_taken()
                if not self._closing.is_set():
                    self._complain(error)
                    self._closing.wait(0.2)  # no busy loop
            else:
                if len(self._taken) >= AT_ONCE:
                    self._begin_taken()
        self._begin_taken()  # `end_connections` will end them

    def _run_errands(self) -> None:
        while self._errands:
            try:
                self._errands.popleft()()
            except Exception as error:
                self._host.warn(
                    f"a change of users or of the leader did not reach every client: {error!r}"
                )

    def _take(self, accepted: socket.socket, address: object) -> None:
        """Give the connection a place; the last places are only for peers."""
        with self._lock:
            to_end = self._places.make_room(time.monotonic())
            is_full, for_peers_only = self._places.is_full, self._places.is_for_peers_only
        if to_end:
            self._say_at_times("full", EVERY_PLACE_TAKEN)
        for each in to_end:
            each.give_up()
        if is_full:
            accepted.close()
            return
        try:
            if self._host.tls is not None:
                accepted = TlsSocket(accepted)
            connection = Connection(
                self._host,
                accepted,
                for_peers_only=for_peers_only,
                announce=lambda: self._host.traffic_log.connected(address),
                shared_reader=self._shared_reader,
                half_lines=self._half_lines,
                doors=self._doors,
            )
            connection.on_login = partial(self._log_in, connection)
            accepted.setblocking(True)  # except on Linux, it inherits the mode of the listener
            prepare(accepted, LINE_S)
        except Exception as error:  # out of memory, for example
            self._complain(error)
            accepted.close()
            return
        with self._lock:
            self._places.take(connection, time.monotonic())
            sys.setswitchinterval(switch_interval_s(self._places.count))
        self._taken.append(connection)

    def _log_in(self, connection: Connection, user: str, is_admin: bool) -> None:
        """Count a connection as its user's; end the connections that give way."""
        with self._lock:
            to_end = self._places.log_in(connection, user, is_admin=is_admin)
        if to_end:
            self._say_at_times("users", USERS_GIVE_WAY)
        for each in to_end:
            each.give_up()

    def _begin_taken(self) -> None:
        """Start a thread for each accepted connection.

        This does not use `threading`, which waits until the new thread runs: each one would cost a
        turn of the interpreter and of the processor. So these threads have no name.
        """
        connections, self._taken = self._taken, []
        for connection in connections:
            try:
                _thread.start_new_thread(self._serve, (connection,))
            except (RuntimeError, MemoryError) as error:  # no thread can be started
                self._forget(connection)
                self._complain(error)
                connection.close()

    def _serve(self, connection: Connection) -> None:
        try:
            connection.serve()
        except Exception as error:
            self._say_at_times("broken", f"a connection ends, and the others continue: {error!r}")
            connection.close()
        finally:
            self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        with self._lock:
            if self._places.leave(connection):
                ended, read, sent = self._gone
                more_read, more_sent = connection.bytes_moved
                self._gone = (ended + 1, read + more_read, sent + more_sent)
            sys.setswitchinterval(switch_interval_s(self._places.count))

    def _complain(self, error: BaseException) -> None:
        why = f"can't take a connection: {str(error) or repr(error)}; the open ones continue"
        self._say_at_times("trouble", why)

    def _say_at_times(self, what: str, text: str) -> None:
        now_s = time.monotonic()
        if now_s - self._complained_s.get(what, -COMPLAINT_PAUSE_S) >= COMPLAINT_PAUSE_S:
            self._complained_s[what] = now_s
            self._host.warn(text)


def switch_interval_s(connections: int) -> float:
    """Return how long a thread sleeps before it asks for the interpreter again, in seconds.

    A thousand threads that each ask every 5 ms use a whole core for this. Then a thread that steps
    the core and sends to a peer waits for half a second, and the leader loses its leadership.
    docs/develop/speed.md has the figures. Up to 250 connections the interval stays as it was when
    this process started.
    """
    return max(USUAL_SWITCH_S, connections * SWITCH_S)
