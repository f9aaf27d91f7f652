"""The door for Redis clients, whose first byte is `*`: no line of the store begins with it."""

from __future__ import annotations

from collections.abc import Callable

from raftline.net.line_reader import LineBuffer
from raftline.net.protocol.admission import Admission
from raftline.net.protocol.host import DoorHost
from raftline.net.protocol.outgoing_protocol import OutgoingProtocol
from raftline.net.protocol.user_calls import UserCalls
from raftline.net.protocol.waits import Replies

from .redis_node import RedisNode
from .redis_requests import RedisRequests
from .redis_serving import RedisServing
from .resp.forms import ReplyFormatter


class RedisDoor(RedisNode):
    """The door at one node."""

    def opens_for(self, data: bytes) -> bool:
        return data[:1] == b"*"

    def open(self, host: DoorHost, admission: Admission, lines: LineBuffer) -> OpenRedisDoor:
        return OpenRedisDoor(self, host, admission, lines)


class OpenRedisDoor:
    """The door at one connection."""

    def __init__(
        self, node: RedisNode, host: DoorHost, admission: Admission, lines: LineBuffer
    ) -> None:
        self._node, self._host, self._admission = node, host, admission
        self.requests = RedisRequests(node, host, admission, lines)

    def serving(
        self,
        outgoing: OutgoingProtocol,
        replies: Replies,
        calls: UserCalls,
        break_off: Callable[[], None],
        note_user: Callable[[], None],
    ) -> RedisServing:
        formatter = ReplyFormatter(self.requests.session, outgoing.read_no_more)
        outgoing.put_format(formatter.format, "surrogateescape")
        return RedisServing(
            self._node,
            self._host,
            self._admission,
            outgoing,
            replies,
            calls,
            self.requests,
            break_off,
            note_user,
        )


at_node = RedisDoor
