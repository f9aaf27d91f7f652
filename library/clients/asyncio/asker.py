"""The requests of the asyncio client: one connection, with the same search for the leader as the
client for threads.

A request is a line in flight on the connection to the leader, along with the lines of other tasks,
and costs no thread. Writes carry the numbers of a session, so a write that lost its connection is
sent again and takes effect once. A task may be cancelled at any time: its reply is dropped when it
arrives.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from raftline.common.address import Address
from raftline.wire.commands.command_table import row_of
from raftline.wire.replies.replies import Reply

from ..connections.client_access import OPEN_ACCESS, ClientAccess
from ..connections.node_connection import (
    CONNECT_TIMEOUT_S,
    LEAST_ATTEMPT_S,
    ClientError,
    Closed,
    Deadline,
    LoginFailed,
    Unreachable,
    line_of,
    unreachable,
)
from ..requests.addresses import Addresses
from ..requests.conversation import PARTS_OF_LEADER, Client
from ..requests.health import SILENCE_S, ClientHealth
from ..requests.pipelining import ends_a_pipeline, unsent
from ..requests.pool import LAST_S, PARTS
from ..requests.search import (
    WINDOW,
    Answer,
    AskNode,
    AwaitSession,
    ClientSessions,
    Connected,
    NodeTurns,
    Search,
    SearchPause,
    SearchStep,
    check_shared,
    lost,
    search,
    session_with_room,
    text_of,
)
from ..steps import carry_out_awaiting
from .line_protocol import ends_within, reach
from .link import Link

# The connection, the line and the awaited reply, at each node where a request is still in flight.
InFlight = dict[Address, tuple[Link, bytes, asyncio.Future[Reply]]]
Kind = TypeVar("Kind")


class AioAsker:
    """Sends the requests of any number of tasks of one event loop to a cluster."""

    def __init__(
        self,
        addresses: Sequence[Address],
        name: str,
        timeout_s: float,
        access: ClientAccess = OPEN_ACCESS,
        silence_s: float = SILENCE_S,
    ) -> None:
        """Start with these nodes, without connecting yet."""
        self.addresses = Addresses(addresses, learns=True, health=ClientHealth(silence_s))
        self.name = name
        self.timeout_s = timeout_s
        self.access = access
        self._nodes = NodeTurns(addresses, self.addresses)
        self._sessions = ClientSessions()
        self._link: Link | None = None
        self._connecting: dict[Address, asyncio.Task[Link]] = {}
        self._old: set[Link] = set()  # still waiting for their last replies
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = os.getpid()
        self.is_closed = False
        self._has_ended = False  # no connection is made any more

    async def request(self, command: str, timeout_s: float) -> str:
        """Return the text of the reply, within `timeout_s` or slightly more.

        Raises:
            ClientError: see `Client.request`.
        """
        self.check_place()
        check_shared(command)
        deadline = Deadline(timeout_s, attempt_s=timeout_s / PARTS)
        steps = search(self._nodes, self._sessions, self.name, command, deadline)
        return text_of(await self._carry_out(steps))

    def send_off(self, command: str, settled: Callable[[str | None], object]) -> bool:
        """Send a request whose answer is not awaited, if there is a connection to the leader;
        return whether it was sent. `settled` gets the text of the answer, None if there is none."""
        self.check_place()
        link = self._at_hand(self._nodes.current)
        if link is None or link.is_full:
            return False

        def take(answer: asyncio.Future[Reply]) -> None:
            is_answered = not answer.cancelled() and answer.exception() is None
            settled(answer.result().text if is_answered else None)

        link.send(line_of(self.name, command)).add_done_callback(take)
        return True

    async def _carry_out(self, steps: Search[Kind], *, is_last: bool = False) -> Kind:
        in_flight: InFlight = {}
        try:
            return await carry_out_awaiting(steps, partial(self._do, in_flight, is_last))
        finally:
            for link, _, future in in_flight.values():
                link.holders -= 1
                if _may_arrive(future):
                    future.cancel()
                link.give_up(2 * self.timeout_s / PARTS)

    def again(self) -> AioAsker:
        """Return an asker with the same options, of no cluster yet, that knows the same nodes."""
        known, silence_s = self.addresses.known, self.addresses.health.silence_s
        return type(self)(known, self.name, self.timeout_s, self.access, silence_s)

    def apart(self, timeout_s: float) -> Client:
        """Return a client with its own connection, for use by one thread. The caller closes it."""
        self.check_place()
        first, *others = self.addresses.known
        addresses = Addresses(self.addresses.known)  # another thread uses the shared ones
        addresses.cluster = self.addresses.cluster
        return Client(
            *first,
            self.name,
            timeout_s,
            follow=True,
            also=others,
            access=self.access,
            addresses=addresses,
        )

    async def request_together(
        self, commands: Sequence[str], timeout_s: float
    ) -> list[str | ClientError]:
        """Return the text of each reply, or its error. The requests start in order, and as many are
        in flight as one session has numbers for. After a request that found no node in time, no
        further request starts."""
        self.check_place()
        answers: dict[int, str | ClientError] = {}  # by place
        if any(row_of(command).handling.is_numbered for command in commands):
            deadline = Deadline(timeout_s, attempt_s=timeout_s / PARTS)
            opening = session_with_room(self._nodes, self._sessions, self.name, deadline)
            try:
                await self._carry_out(opening)  # otherwise its waiters might overtake
            except ClientError as error:
                return [error, *(unsent(error) for _ in commands[1:])]
        left = iter(enumerate(commands))
        failure: ClientError | None = None

        async def send_some() -> None:
            nonlocal failure
            for place, command in left:
                try:
                    answers[place] = await self.request(command, timeout_s)
                except ClientError as error:
                    answers[place] = error
                    if ends_a_pipeline(error):
                        failure = failure or error
                if failure:
                    return

        await asyncio.gather(*(send_some() for _ in range(min(len(commands), WINDOW - 1))))
        return [answers.get(place) or unsent(failure) for place in range(len(commands))]

    @property
    def is_here(self) -> bool:
        """Whether this is the process that made the client, and not a forked child. A child shares
        the selector of the event loop: a connection that it closes there gets no more bytes in the
        parent."""
        return self._process == os.getpid()

    def outlived_its_loop(self) -> bool:
        """Return whether the event loop of this client has been closed. Raises RuntimeError if the
        client belongs to another loop that has not."""
        if self._loop is None or self._loop is asyncio.get_running_loop():
            return False
        if not self._loop.is_closed():
            raise RuntimeError("this client belongs to another event loop; close it there")
        return True

    def abandon(self) -> None:
        """Hang up after the event loop of the connections was closed: they can't end any more."""
        self.is_closed = True
        links, self._link = (*self._old, self._link), None
        self._old.clear()
        for link in links:
            if link is not None:
                link.hang_up()

    def check_place(self) -> None:
        """Raise if no request can be sent: the client is closed, or this is another event loop or a
        forked child."""
        if self.is_closed:
            raise Closed("this client was closed, so it can't send requests")
        if not self.is_here:
            raise RuntimeError("this client belongs to the process that forked; connect again here")
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise RuntimeError("this client belongs to another event loop; connect again here")

    async def close(self, last: Sequence[str] = ()) -> None:
        """Send the `last` requests, and wait at most LAST_S for their replies. Then release the
        sessions, close the connection, and wait until it has ended."""
        self.is_closed = True
        await asyncio.gather(*map(self._request_last, last), return_exceptions=True)
        self._has_ended = True
        sessions, self._sessions = self._sessions, ClientSessions()
        if self._link is not None:
            self._link.send_last([line_of(name, "forget") for name in sessions.names])
        connecting = list(self._connecting.values())
        for task in connecting:
            task.cancel()
        if connecting:
            await asyncio.wait(connecting)  # each ends once it has been cancelled
        links = [*self._old, *([self._link] if self._link is not None else [])]
        for link in links:
            link.close(ConnectionAbortedError("this client was closed"))
        for link in links:
            await asyncio.wait([link.closed], timeout=1.0)
        self._link = None
        self._old.clear()

    async def _request_last(self, command: str) -> None:
        deadline = Deadline(LAST_S, attempt_s=LAST_S / PARTS)
        steps = search(self._nodes, self._sessions, self.name, command, deadline)
        await self._carry_out(steps, is_last=True)

    async def _do(
        self, in_flight: InFlight, is_last: bool, step: SearchStep
    ) -> Answer | Connected | None:
        if self.is_closed and not is_last:
            return Closed("this client was closed")
        if isinstance(step, SearchPause):
            await asyncio.sleep(step.seconds)
            return None
        if isinstance(step, AwaitSession):
            started = asyncio.Event()
            step.sessions.when_begun(started.set)
            await ends_within(started.wait(), step.seconds)
            return None
        return await self._attempt(in_flight, step)

    async def _attempt(self, in_flight: InFlight, step: AskNode) -> Answer | Connected:
        """Send a request to a node, or keep waiting for its reply; return its answer."""
        line = line_of(step.sender, step.command)
        address, began_s = step.address, time.monotonic()
        link, future = self._awaited(in_flight, address, line)
        if link is None:
            limit_s = min(step.limit_s, step.connect_s)
            try:
                link = await self._connected(address, limit_s, step.others)
            except (LoginFailed, Unreachable) as refusal:
                return refusal
            except OSError as error:
                return unreachable(address, error, limit_s)
            if link.address != address:
                return Connected(link.address)
        limit_s = max(LEAST_ATTEMPT_S, step.limit_s - (time.monotonic() - began_s))
        until_s = asyncio.get_running_loop().time() + limit_s
        try:
            future = future or await self._sent(link, line, limit_s)
            return await _by(until_s, future)
        except Unreachable as refusal:
            return refusal
        except OSError as error:
            failure = lost(step.command, address, error, step.limit_s)
            if future is not None and (longer := link.await_longer(future)) is not None:
                in_flight[address] = link, line, longer
                link.holders += 1
                failure._is_in_flight = True
            return failure

    def _awaited(
        self, in_flight: InFlight, address: Address, line: bytes
    ) -> tuple[Link | None, asyncio.Future[Reply] | None]:
        """Return the connection to a node, if there is one, and the reply that is awaited there, if
        this line is in flight."""
        link, sent, future = in_flight.pop(address, (None, b"", None))
        if link is not None and future is not None:
            link.holders -= 1
            part_s = self.timeout_s / PARTS
            link.end_if_dead(part_s, PARTS_OF_LEADER * part_s)
            if _may_arrive(future) and sent == line:
                self._use(link)
                return link, future
            future.cancel()
        return self._at_hand(address), None

    def _at_hand(self, address: Address) -> Link | None:
        """Return an open connection to a node, or None. It may be an old one that still waits for
        replies."""
        for link in (self._link, *self._old):
            if link is not None and link.is_open and link.address == address:
                self._use(link)
                return link
        return None

    async def _sent(self, link: Link, line: bytes, limit_s: float) -> asyncio.Future[Reply]:
        """Send a line once the node reads.

        Raises:
            Unreachable: it did not read within that time, so the line was not sent.
        """
        if link.is_full and not await ends_within(link.writable(), limit_s):
            host, port = link.address
            raise Unreachable(f"{host} port {port} currently reads nothing.")
        return link.send(line)

    async def _exchange(self, link: Link, line: bytes, limit_s: float) -> Reply:
        until_s = asyncio.get_running_loop().time() + limit_s
        return await _by(until_s, await self._sent(link, line, limit_s))

    async def _connected(self, address: Address, limit_s: float, others: Iterator[Address]) -> Link:
        """Return the connection to a node, or to one of `others` if it was reached first. Tasks
        that need the same connection share the attempt."""
        task = self._connecting.get(address)
        if task is None or task.done():  # done: its callback was interrupted
            task = asyncio.ensure_future(self._connect(address, others))
            self._connecting[address] = task
            task.add_done_callback(lambda done: self._connected_or_not(address, done))
        finished, _ = await asyncio.wait([task], timeout=limit_s)
        if not finished:
            raise TimeoutError
        if task.cancelled():
            raise ConnectionAbortedError("this client was closed")
        return task.result()

    def _connected_or_not(self, address: Address, task: asyncio.Task[Link]) -> None:
        self._connecting.pop(address, None)
        if not task.cancelled():
            task.exception()  # retrieve it here: perhaps no task is waiting for it

    async def _connect(self, address: Address, others: Iterator[Address]) -> Link:
        def make(reached: Address) -> Link:
            return Link(reached, self.name, self.addresses.cluster)

        link = await reach(address, make, self.access, CONNECT_TIMEOUT_S, others)
        link.closed.add_done_callback(lambda _: self._old.discard(link))
        await self._log_in(link)
        if self._has_ended:  # it was made at the same moment
            link.close(ConnectionAbortedError("this client was closed"))
        self._use(link)
        return link

    def _use(self, link: Link) -> None:
        """Make a connection the current one; the one before waits for its last replies."""
        before = self._link
        if before is link:
            return
        self._old.discard(link)
        link.resume()
        self._link = link
        if before is not None and before.is_open:
            self._old.add(before)
            before.retire()

    async def _log_in(self, link: Link) -> None:
        """Log in on a connection that does not carry a request yet."""

        async def answer_to(command: str) -> str:
            return (await self._exchange(link, line_of(self.name, command), CONNECT_TIMEOUT_S)).text

        try:
            await take_steps(self.access, answer_to)
        except BaseException:
            link.close(ConnectionAbortedError("the login failed"))
            raise


async def take_steps(access: ClientAccess, answer_to: Callable[[str], Awaitable[str]]) -> None:
    """Carry out a login, if there is a user; `answer_to` sends a command and returns the reply's
    text. A thread derives the key from the password, since that takes a while. It is not one of the
    event loop's, which may all be waiting for a name server.

    Raises:
        LoginFailed, Unreachable: see `client_login.exchange`. OSError: no answer arrived in time.
    """
    steps = access.login_steps()
    if steps is None:
        return
    loop = asyncio.get_running_loop()

    def step(reply: str | None) -> str | None:
        try:
            return next(steps) if reply is None else steps.send(reply)
        except StopIteration:
            return None

    command = step(None)
    derivation = ThreadPoolExecutor(1, "raftline login")
    try:
        while command is not None:
            command = await loop.run_in_executor(derivation, step, await answer_to(command))
    finally:
        derivation.shutdown(wait=False)


def _may_arrive(future: asyncio.Future[Reply]) -> bool:
    """Return whether the reply has arrived or is still awaited."""
    return not future.done() or future.exception() is None


async def _by(until_s: float, future: asyncio.Future[Reply]) -> Reply:
    """Return the reply. Raises TimeoutError if it does not arrive by this time of the loop."""
    timer = asyncio.get_running_loop().call_at(until_s, _expire, future)
    try:
        return await future
    finally:
        timer.cancel()


def _expire(future: asyncio.Future[Reply]) -> None:
    if not future.done():
        future.set_exception(TimeoutError())
