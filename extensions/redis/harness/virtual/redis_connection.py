"""The connection of a client that speaks as Redis clients do, at one simulated node."""

from __future__ import annotations

from abc import abstractmethod

from raftline.wire.refusal import NO_LEADER, not_leader, outcome_unknown
from raftline_testing.invariants import InvariantError
from raftline_testing.virtual.nodes.client_connection import AtDoor, ClientConnection
from raftline_testing.virtual.nodes.node_connections import Doors, ServingNode
from raftline_testing.virtual.nodes.request_interface import Asked

from ..redis_requests import Commands, Conversation, Reply
from ..redis_wire import framed

THINK_MS = 20  # of a client between the replies and the commands that depend on them


class Conversing(AtDoor):
    """A request that is carried out by commands of Redis."""

    @abstractmethod
    def conversation(self) -> Conversation:
        """Return the commands."""

    def connect(self, doors: Doors, host: ServingNode) -> RedisConnection:
        return RedisConnection(doors, host)

    def begin(self, connection: ClientConnection) -> bytes:
        assert isinstance(connection, RedisConnection)
        return connection.begin(self.conversation())


class RedisError(Exception):
    """An error instead of a reply, which begins with its code."""


class RedisConnection(ClientConnection):
    """A connection with one request at a time; each command has its reply."""

    speaks_lines = False
    _conversation: Conversation | None = None
    _count = 0  # replies that are awaited
    _replies: list[Reply]
    _error = ""  # the first one among these
    _unread = b""

    def begin(self, conversation: Conversation) -> bytes:
        """Return the bytes of the first commands."""
        self._conversation = conversation
        return self._formatted(next(conversation))

    def _formatted(self, commands: Commands) -> bytes:
        self._count, self._replies, self._error = len(commands), [], ""
        return b"".join([framed(*words) for words in commands])

    def _hear(self, data: bytes) -> None:
        self._unread += data
        while self._unread and not self.is_over:
            try:
                reply, end = read_reply(self._unread, 0)
            except IndexError:
                return  # the rest has not arrived
            except RedisError as error:
                reply, end = None, self._unread.index(b"\r\n") + 2
                self._error = self._error or str(error)
            self._unread = self._unread[end:]
            if self._conversation is None:
                raise InvariantError(f"nothing was asked, and {reply!r} {self._error} is said")
            self._replies.append(reply)
            if len(self._replies) == self._count:
                self._go_on(self._conversation)

    def _go_on(self, conversation: Conversation) -> None:
        """Send the next commands, or hand out the result."""
        if self._error:
            self._end(_refusal(self._error))
            return
        try:
            data = self._formatted(conversation.send(self._replies))
        except StopIteration as end:
            self._end(str(end.value))
        else:
            self._sim.beside(THINK_MS, 0.5, self.receive, data)

    def _end(self, reply: str) -> None:
        self._conversation = None
        asked: Asked = self.asked.pop(0)
        self._answer(asked, reply)


def _refusal(error: str) -> str:
    """Return what the reply to a line would be."""
    code, _, rest = error.partition(" ")
    if code == "MOVED":
        name, _, port = rest.split(" ")[1].rpartition(":")
        return not_leader(name, name, int(port))
    if code in ("CLUSTERDOWN", "TRYAGAIN"):
        return NO_LEADER
    if code == "UNKNOWN":
        return outcome_unknown(rest)
    raise InvariantError(f"a Redis client is told: {error}")


def read_reply(data: bytes, place: int) -> tuple[Reply, int]:
    """Return the reply that begins at a place, in RESP2, and where it ends.

    Raises:
        IndexError: it is not whole.
        RedisError: it is an error.
    """
    newline = data.find(b"\r\n", place)
    if newline < 0:
        raise IndexError
    kind, text, end = data[place : place + 1], data[place + 1 : newline], newline + 2
    if kind == b"+":
        return text.decode(), end
    if kind == b"-":
        raise RedisError(text.decode())
    size = int(text)
    if kind == b":":
        return size, end
    if size < 0:
        return None, end
    if kind == b"*":
        items: list[Reply] = []
        for _ in range(size):
            item, end = read_reply(data, end)
            items.append(item)
        return items, end
    if kind != b"$":
        raise InvariantError(f"not a reply: {data[place:newline]!r}")
    if len(data) < end + size + 2:
        raise IndexError
    return data[end : end + size].decode("utf-8", "surrogateescape"), end + size + 2
