"""Many requests of one thread in flight at once, on one connection after the other.

Each request is a machine of `search.py`. So it finds the leader, carries a number of a session and
is sent again, like a single request. Here the lines are sent together, and the replies are read in
the order of the lines (docs/use/protocol.md).
"""

from __future__ import annotations

import bisect
import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from raftline.common.address import Address
from raftline.wire.commands.command_table import row_of
from raftline.wire.replies.replies import Reply, RequestOutcome, outcome_of, read_reply

from ..connections.node_connection import (
    LEAST_ATTEMPT_S,
    ClientError,
    Deadline,
    LoginFailed,
    NodeConnection,
    NoLeader,
    OtherCluster,
    Unreachable,
    line_of,
)
from .search import (
    FIRST_PAUSE_S,
    WINDOW,
    Answer,
    AskNode,
    AwaitSession,
    ClientSessions,
    Connected,
    Search,
    SearchPause,
    SearchStep,
    lost,
)

BYTES_MAX = 256 << 10  # of lines without an answer; one line may be longer
Connect = Callable[[Address, float, Iterator[Address]], NodeConnection]


def unsent(failure: Answer | None) -> ClientError:
    """Return the error of a request that did not start after `failure` of an earlier one."""
    if isinstance(failure, OtherCluster):
        return OtherCluster(str(failure))
    kind = NoLeader if isinstance(failure, Reply | NoLeader) else Unreachable
    return kind("it was not sent, because an earlier request found no node that served it in time")


def ends_a_pipeline(error: ClientError) -> bool:
    """Return whether the request found no node in time, or its login failed: the next requests
    would fail in the same way."""
    is_refused = error.outcome is RequestOutcome.REFUSED
    return not is_refused or isinstance(error, (Unreachable, LoginFailed, OtherCluster))


class _UnderWay:
    """A machine, its place, and the line whose answer it awaits."""

    def __init__(self, place: int, machine: Search[Reply]) -> None:
        self.place = place
        self.machine = machine
        self.step = AskNode(Address("", 0), "", "", 0.0, 0.0)
        self.line = b""
        self.until_s = 0.0


class Pipelining:
    """Carries out the machines of requests side by side, in order. While a request
    pauses, because of an election, no later request is sent."""

    def __init__(
        self,
        commands: Iterable[str],
        machine_of: Callable[[str], Search[Reply]],
        sessions: ClientSessions,
        connect: Connect,
        hang_up: Callable[[], None],
        notice: Deadline,
    ) -> None:
        """`machine_of` starts the request of a command, with `sessions`. `connect` returns the
        connection to a node, or raises ClientError. `hang_up` closes the connection. `notice` says
        that the first late reply has not arrived yet."""
        self._commands = deque(commands)
        self._machine_of = machine_of
        self._sessions = sessions
        self._connect = connect
        self._hang_up = hang_up
        self._notice = notice
        self._connection: NodeConnection | None = None
        self._answers: dict[int, Answer] = {}  # by place
        self._count = 0  # of requests that have begun
        self._to_send: deque[_UnderWay] = deque()
        self._sent: deque[_UnderWay] = deque()
        self._bytes = 0  # of lines that are unsent or unanswered
        self._paused: list[tuple[float, _UnderWay]] = []
        self._without_session: list[_UnderWay] = []
        self._failure: Answer | None = None  # then no further request starts

    def answers(self) -> Iterator[Answer]:
        """Yield the answers in the order of the requests, each as soon as it is known. If a request
        found no node in time, requests that have not started by then are not sent."""
        place = 0
        try:
            while self._begin_more() or len(self._answers) < self._count:
                self._advance()
                while place in self._answers:
                    yield self._answers[place]
                    place += 1
        except BaseException:
            self._hang_up()  # else a late reply would answer the next request
            raise
        for _ in self._commands:
            yield unsent(self._failure)

    # --- requests -------------------------------------------------------------------------------

    def _begin_more(self) -> bool:
        """Start as many requests as may be in flight; return whether any started."""
        before = self._count
        while self._commands and not self._failure and self._has_room:
            machine = self._machine_of(self._commands.popleft())
            self._count += 1
            self._resume(_UnderWay(self._count - 1, machine), partial(next, machine))
        return self._count > before

    @property
    def _has_room(self) -> bool:
        """Whether the next request may start. It waits for a full session, because another session
        would be taken from other clients."""
        active = self._count - len(self._answers)
        if not active:
            return True
        if active >= WINDOW or self._bytes >= BYTES_MAX or self._paused:
            return False
        is_numbered = row_of(self._commands[0]).handling.is_numbered
        return not is_numbered or self._sessions.with_room() is not None

    def _resume(self, request: _UnderWay, resume: Callable[[], SearchStep]) -> None:
        """Run a machine to its next step, or to its end."""
        try:
            step = resume()
        except StopIteration as end:
            reply: Reply = end.value
            self._answers[request.place] = reply
            if outcome_of(reply.text) is RequestOutcome.NO_LEADER:
                self._failure = self._failure or reply
        except ClientError as error:
            self._answers[request.place] = error
            if ends_a_pipeline(error):
                self._failure = self._failure or error
        else:
            self._take(request, step)

    def _take(self, request: _UnderWay, step: SearchStep) -> None:
        if isinstance(step, SearchPause):
            self._paused.append((time.monotonic() + step.seconds, request))
        elif isinstance(step, AwaitSession):
            self._without_session.append(request)
        else:
            try:
                request.line = line_of(step.sender, step.command)
            except ClientError as error:
                self._resume(request, partial(request.machine.throw, error))
                return
            request.step = step
            request.until_s = time.monotonic() + step.limit_s
            self._bytes += len(request.line)
            self._queue(request)

    def _queue(self, request: _UnderWay) -> None:
        bisect.insort(self._to_send, request, key=lambda each: each.place)

    def _answered(self, request: _UnderWay, answer: Answer | Connected) -> None:
        self._bytes -= len(request.line)
        self._hand(request, answer)

    def _hand(self, request: _UnderWay, answer: Answer | Connected | None) -> None:
        self._resume(request, partial(request.machine.send, answer))

    # --- steps ----------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Do the next possible work: send and read, resume requests that wait for a session, or
        wait. Paused requests resume together: each may meet a node that hangs, and otherwise they
        would meet it one after another."""
        if self._may_send or self._sent:
            self._send()
            self._read()
        elif self._without_session and not self._sessions.is_beginning:
            waiting, self._without_session = self._without_session, []
            for request in waiting:
                self._hand(request, None)
        elif self._paused:
            due_s = min(due_s for due_s, _ in self._paused)
            time.sleep(max(0.0, due_s - time.monotonic()))
            paused, self._paused = self._paused, []
            for each in paused:
                if each[0] <= due_s + FIRST_PAUSE_S:
                    self._hand(each[1], None)
                else:
                    self._paused.append(each)

    @property
    def _may_send(self) -> bool:
        """Whether the next line may be sent: no earlier request pauses."""
        first = min((request.place for _, request in self._paused), default=math.inf)
        return bool(self._to_send) and self._to_send[0].place < first

    def _send(self) -> None:
        """Send the lines for one node. Lines for another node wait until all sent lines are
        answered."""
        if not self._may_send:
            return
        step = self._to_send[0].step
        if not self._sent and not self._reach(step):
            return
        connection = self._connection
        assert connection is not None
        now_s, lines = time.monotonic(), []
        while self._may_send and self._to_send[0].step.address == connection.address:
            request = self._to_send.popleft()
            request.until_s = max(request.until_s, now_s + LEAST_ATTEMPT_S)
            self._sent.append(request)
            lines.append(request.line)
        try:
            if lines:
                connection.timeout_s = step.limit_s
                connection.send_soon(*lines)
        except OSError as error:
            self._lose_all(error)

    def _reach(self, step: AskNode) -> bool:
        """Connect to the node of a step; return whether that node was reached."""
        answer: ClientError | Connected
        try:
            self._connection = self._connect(step.address, step.connect_s, step.others)
            answer = Connected(self._connection.address)
        except ClientError as error:
            answer = error
        if answer == Connected(step.address):
            return True
        self._answer_all(step.address, answer)
        return False

    def _answer_all(self, address: Address, answer: ClientError | Connected) -> None:
        """Answer each request for a node that can't be asked."""
        waiting, self._to_send = self._to_send, deque()
        for request in waiting:
            if request.step.address == address:
                self._answered(request, answer)
            else:
                self._queue(request)

    def _read(self) -> None:
        """Read the next reply, and the replies that arrived with it."""
        connection = self._connection
        while self._sent and connection is not None:
            try:
                raw = self._next_line(connection)
                reply = read_reply(raw.removesuffix(b"\r"))
                if reply is None:
                    raise ConnectionError("answered something that is not raftline")
            except OSError as error:
                self._lose_all(error)
                return
            request = self._sent.popleft()
            self._answered(request, reply)
            if b"\n" not in connection.received:
                return

    def _next_line(self, connection: NodeConnection) -> bytes:
        until_s = self._sent[0].until_s
        if self._notice.notice_s < until_s:
            with contextlib.suppress(TimeoutError):
                return connection.read(self._notice.notice_s)
            host, port = connection.address
            self._notice.notice(f"waiting for {host} port {port}")
        return connection.read(until_s)

    def _lose_all(self, error: OSError) -> None:
        """Answer each request on a broken connection, since no reply will arrive."""
        self._hang_up()
        self._connection = None
        unanswered, self._sent = self._sent, deque()
        for request in unanswered:
            step = request.step
            self._answered(request, lost(step.command, step.address, error, step.limit_s))
