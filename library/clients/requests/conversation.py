"""`Client`: a program's conversation with the cluster. It sends requests, waits, and follows the
leader."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from raftline.common.address import Address
from raftline.net.dialing import NOBODY
from raftline.net.line_connection import LEAST_S, is_delivered
from raftline.wire.protocol import NAME
from raftline.wire.replies.replies import Reply, read_reply

from ..connections.client_access import OPEN_ACCESS, ClientAccess
from ..connections.node_connection import (
    ClientError,
    Deadline,
    LoginFailed,
    NodeConnection,
    OutcomeUnknown,
    Unreachable,
    line_of,
    unreachable,
)
from ..steps import carry_out
from .addresses import Addresses
from .one_node import answer_to, do_at
from .pipelining import Pipelining
from .search import (
    Answer,
    AskNode,
    ClientSessions,
    Connected,
    NodeTurns,
    Search,
    SearchPause,
    SearchStep,
    lost,
    nobody_answers,
    search,
    text_of,
)

PARTS_OF_LEADER = 5  # of the time: for a reply, before the request is sent on a new connection


def name_of_client(name: str) -> str:
    """Return `name`. Raises TypeError, ValueError if it is not valid before the `@` of a line."""
    if not isinstance(name, str):
        raise TypeError(f"the name of a client is a str, not {type(name).__name__}")
    if not NAME.fullmatch(name):
        what = "a letter, then letters, digits, _ . or -, at most 64 in all"
        raise ValueError(f"{name!r} is not a valid client name: {what}")
    return name


def _settle(settled: Callable[[str | None], object], raw: bytes | None) -> None:
    reply = None if raw is None else read_reply(raw.removesuffix(b"\r"))
    settled(None if reply is None else reply.text)


class Client:
    """Sends one request after another, to one node at a time; not for several threads at once.

    With `follow`, it follows the sorry lines of nodes to the leader, and skips dead nodes, until
    `timeout_s` has passed. Its writes then carry the numbers of its own session, which begins
    before the first write. So a write whose outcome is unknown is sent again and still takes effect
    once (thesis §6.3). Without `follow` or without `sessions`, such a write is never sent again,
    and costs one entry. `also` are further nodes to try; `on_connect` is called before each
    connection is made. `attempt_s` is the time for which the first node may keep a request, when
    following (`Deadline`). `search_s` is the time of the search for a node that accepts it, if that
    differs from `timeout_s`. `on_wait` gets a line, once for each request, if no answer arrives
    within a second. Each connection logs in and uses TLS as `access` says; the environment counts
    only for a program that passes on what it names. `addresses` are the cluster's addresses, if
    other clients of this program share them.
    """

    def __init__(
        self,
        host: str = "localhost",
        port: int = 10000,
        name: str = "client",
        timeout_s: float = 10.0,
        *,
        follow: bool = False,
        sessions: bool = True,
        also: Sequence[tuple[str, int]] = (),
        on_connect: Callable[[Address], None] | None = None,
        attempt_s: float | None = None,
        search_s: float | None = None,
        on_wait: Callable[[str], None] | None = None,
        access: ClientAccess = OPEN_ACCESS,
        addresses: Addresses | None = None,
    ) -> None:
        """Initialize without connecting.

        Raises:
            ValueError: `name` is not valid.
        """
        self._nodes = NodeTurns([(host, port), *also], addresses)
        self.name = name_of_client(name)
        self.timeout_s = timeout_s
        self.attempt_s = attempt_s
        self.search_s = search_s
        self.follow = follow
        self._has_sessions = sessions
        self._on_connect = on_connect
        self._on_wait = on_wait
        self.access = access
        self._connection: NodeConnection | None = None
        self._sessions = ClientSessions()
        self._in_flight: dict[Address, tuple[NodeConnection, bytes]] = {}  # of the current request
        self._process = os.getpid()

    @property
    def address(self) -> Address:
        """The current node."""
        return self._nodes.current

    @property
    def addresses(self) -> list[Address]:
        """The nodes that this client may ask."""
        return list(self._nodes.known) if self.follow else [self.address]

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next request makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def send_off(self, command: str, settled: Callable[[str | None], object]) -> bool:
        """Send a request along with the next one, or by `flush`, and await no answer. Return False
        if there is no connection. `settled` gets the text of the answer when a later request is
        answered, or None if the connection is closed first."""
        self._check_fork()
        connection = self._connection
        if connection is None or connection.address != self.address or not connection.is_silent():
            return False
        connection.send_off(line_of(self.name, command), partial(_settle, settled))
        return True

    def flush(self) -> None:
        """Send what `send_off` has held back."""
        if self._connection is not None:
            try:
                self._connection.flush()
            except OSError:
                self.close()

    def forget_sessions(self) -> None:
        """Release the sessions, and close the connection. This waits neither for an answer nor for
        room to send. If a node misses it, the cluster drops the session when it is the least
        recently used."""
        self._check_fork()
        sessions, self._sessions = self._sessions, ClientSessions()
        if self._connection is not None:
            self._connection.timeout_s = LEAST_S
            with contextlib.suppress(OSError):
                self._connection.flush()
            for name in sessions.names:
                with contextlib.suppress(OSError):
                    self._connection.send(line_of(name, "forget"))
            self.close()  # otherwise a late reply would answer the next request

    def _check_fork(self) -> None:
        """Start over in a forked child. Two processes would mix up the replies on one connection,
        and the numbers of one session."""
        if self._process != os.getpid():
            self._process, self._sessions = os.getpid(), ClientSessions()
            self._end_request()  # this process's ends: the parent still has its own
            self.close()

    def request(self, command: str) -> str:
        """Return the reply's text (`GET response: 5`; `GET response, no such key: b`).

        Raises:
            NotLeader, NoLeader, Refused: the node's sorry line; nothing was done.
            OutcomeUnknown: the request was sent, and may or may not take effect.
            Unreachable: no node answered, or a read got no answer.
        """
        return text_of(self.ask(command))

    def ask(self, command: str) -> Reply:
        """Return the reply, even if it begins with `Sorry,`.

        Raises:
            OutcomeUnknown, Unreachable: no reply arrived; see `request`.
            Refused: the command is not one line of text.
        """
        self._check_fork()
        try:
            return self._asked(command)
        except ClientError:
            raise
        except BaseException:  # for example of a signal handler
            self._drop()
            raise
        finally:
            self._end_request()

    def _end_request(self) -> None:
        """Close the connections on which answers to the request may still arrive."""
        while self._in_flight:
            self._in_flight.popitem()[1][0].close()

    def _drop(self) -> None:
        """Drop what a request has left half done: a late reply would answer the next request, and
        requests in flight may keep the sessions busy."""
        self._sessions = ClientSessions()
        self.close()

    def _asked(self, command: str) -> Reply:
        if not self.follow:
            limits = Deadline(self.timeout_s, self._on_wait)
            line = line_of(self.name, command)
            connection = self._connected_to(self.address, self.timeout_s)
            try:
                return self._exchange(connection, line, command, limits)
            except ClientError as error:  # with the time limit of the whole request
                raise error._within(self.timeout_s) if error._within else error from None
        deadline = Deadline(
            self.search_s or self.timeout_s,
            self._on_wait,
            attempt_s=self.attempt_s or math.inf,
            reply_s=self.timeout_s if self.search_s else None,
        )
        sessions = self._sessions if self._has_sessions else None
        steps = search(self._nodes, sessions, self.name, command, deadline)
        return carry_out(steps, partial(self._do, deadline))

    def _do(self, deadline: Deadline, step: SearchStep) -> Answer | Connected | None:
        if isinstance(step, SearchPause):
            time.sleep(step.seconds)
            return None
        assert isinstance(step, AskNode), "one request at a time, so none waits for a session"
        line = line_of(step.sender, step.command)
        try:
            connection = self._in_flight_at(step.address, line)
            if connection is not None:
                return self._exchange(connection, None, step.command, deadline, step.limit_s)
            connection = self._connected_to(step.address, step.connect_s, step.others)
            if connection.address != step.address:
                return Connected(connection.address)
            return self._exchange(connection, line, step.command, deadline, step.limit_s)
        except (Unreachable, OutcomeUnknown, LoginFailed) as error:
            if error._is_in_flight and self._connection is not None:
                self._in_flight[step.address] = self._connection, line
                self._connection = None
            return error

    def _in_flight_at(self, address: Address, line: bytes) -> NodeConnection | None:
        """Return the connection on which a node may still answer this line; it is the current one
        from now on."""
        connection, sent = self._in_flight.pop(address, (None, b""))
        if connection is None:
            return None
        silent_s = time.monotonic() - connection.sent_s
        is_dead = silent_s >= PARTS_OF_LEADER * (self.attempt_s or math.inf)
        if sent != line or is_dead or not is_delivered(connection.socket):
            connection.close()
            return None
        self.close()
        self._connection = connection
        return connection

    def ask_together(self, commands: Sequence[str]) -> Iterator[Answer]:
        """Yield the answers to these commands in their order, each as soon as it is known. The
        commands are in flight at once. Each has the time limits of a request from its start. This
        follows the leader."""
        self._check_fork()
        # A node that served before has more of the time: a pipeline awaits no reply of an old
        # connection.
        parts = 1 if self._connection is None else PARTS_OF_LEADER
        attempt_s = (self.attempt_s or math.inf) * parts
        first = Deadline(self.timeout_s, self._on_wait, attempt_s=attempt_s)
        deadlines = iter([first])

        def machine_of(command: str) -> Search[Reply]:
            others = Deadline(self.timeout_s, attempt_s=attempt_s)
            deadline = next(deadlines, others)
            return search(self._nodes, self._sessions, self.name, command, deadline)

        steps = Pipelining(
            commands, machine_of, self._sessions, self._connected_to, self.close, first
        )
        try:
            yield from steps.answers()
        except BaseException:
            self._drop()
            raise

    def connect(self) -> None:
        """Connect to the node; with `follow`, to any known node. If a node accepts no login yet,
        the next request connects.

        Raises:
            Unreachable, LoginFailed: no node can be reached, or no node accepts the login. The
                error is the last node's, unless another node's error lasts.
        """
        self._check_fork()
        if not self.follow:
            self._connected_to(self.address, self.timeout_s)
            return
        failures: list[Unreachable | LoginFailed] = []
        deadline = Deadline(self.timeout_s)
        for _ in self._nodes.known:
            node, limit_s = self.address, deadline.connect_s
            if failures and not deadline.left_s:
                break
            try:
                connection = self._connected_to(node, limit_s, self._nodes.besides((node,)))
            except (Unreachable, LoginFailed) as error:
                failures.append(error)
                self._nodes.move_on(node, error)
            else:
                if connection.address != node:
                    self._nodes.turn_to(connection.address, node)
                return
        if any(isinstance(each, Unreachable) and each._is_early for each in failures):
            return
        lasting = (each for each in failures if isinstance(each, LoginFailed) or each.lasts)
        last = next(lasting, failures[-1])
        raise last if isinstance(last, LoginFailed) else nobody_answers(self._nodes, last)

    def _exchange(
        self,
        connection: NodeConnection,
        line: bytes | None,
        command: str,
        deadline: Deadline,
        limit_s: float | None = None,
    ) -> Reply:
        """Return the reply to a line; None is a line that was sent before. Only if the error says
        that the answer may still arrive, the connection stays open."""
        limit_s = deadline.attempt_s if limit_s is None else deadline.at_most(limit_s)
        try:
            steps = answer_to(line, connection.address, deadline, limit_s=limit_s)
            reply = read_reply(carry_out(steps, partial(do_at, connection)))
            if reply is None:
                raise ConnectionError("answered something that is not raftline")
            return reply
        except OSError as error:
            failure = lost(command, connection.address, error, limit_s)
            is_late = isinstance(error, TimeoutError) and connection.is_whole
            failure._is_in_flight = self.follow and is_late
            if not failure._is_in_flight:
                self.close()
            raise failure from None

    def _connected_to(
        self, address: Address, limit_s: float, others: Iterator[Address] = NOBODY
    ) -> NodeConnection:
        """Return a connection to a node, or to one of `others` if it is reached first."""
        if self._connection is not None:
            if self._connection.address == address and self._connection.is_silent():
                return self._connection
            self.close()
        until_s = time.monotonic() + limit_s
        if self._on_connect:
            self._on_connect(address)
        try:
            cluster = self._nodes.addresses.cluster
            connection = self.access.dial(address, limit_s, self.name, others, cluster)
        except OSError as error:
            raise unreachable(address, error, limit_s) from None
        if self._on_connect and connection.address != address:
            self._on_connect(connection.address)
        self._log_in(connection, until_s - time.monotonic())
        self._connection = connection  # only after its login
        return connection

    def _log_in(self, connection: NodeConnection, limit_s: float) -> None:
        try:
            self.access.log_in(connection, self.name, limit_s)
        except BaseException as error:
            connection.close()
            if isinstance(error, OSError) and not isinstance(error, ClientError):
                raise lost("auth", connection.address, error, limit_s) from None
            raise
