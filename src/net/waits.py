"""The waits of a connection's machine (net/serving.py), and the replies that it makes itself."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias, TypeVar

from .host import Batch
from .outgoing_protocol import PIECE, OutgoingProtocol
from .reply_room import Holder

_Result = TypeVar("_Result")


class WaitFor(Enum):
    """A wait of a connection for its other side."""

    BYTES = auto()  # until the protocol was given bytes, or the time
    EMPTY = auto()  # until every reply has left
    ROOM = auto()  # until it may send more: see `OutgoingProtocol.is_full`


@dataclass(slots=True)
class SendBytes:
    """Wait until every reply has left, and then these bytes."""

    data: bytes


@dataclass(slots=True)
class AwaitReplies:
    """Wait for the answer to a batch, at most for a time. The result is whether it came."""

    batch: Batch
    within_s: float


@dataclass(slots=True)
class ReserveRoom:
    """Wait until there is room for a long reply: see `ReplyRoom.reserve`."""

    holder: Holder
    in_turn: bool


Wait: TypeAlias = WaitFor | SendBytes | AwaitReplies | ReserveRoom
# A machine of such waits; it is sent the result of each.
Waits: TypeAlias = Generator[Wait, bool, _Result]


class Replies:
    """Replies that a connection's machine makes itself, and sends together."""

    def __init__(self, name: str, outgoing: OutgoingProtocol) -> None:
        """`outgoing` spells each line."""
        self._name = name
        self._outgoing = outgoing
        self.lines: list[str] = []  # that have gathered
        self._size = 0

    def add(self, request_id: str, text: str) -> None:
        """Add the reply to a request."""
        self.lines.append(self._outgoing.spelled(self._name, request_id, text))
        self._size += len(text)

    def add_in_pieces(self, request_id: str, text: str) -> Waits[None]:
        """Add the reply to a request; a piece of them is sent at once, as by `flush`."""
        self.add(request_id, text)
        if self._size >= PIECE:
            yield from self.flush()

    def flush(self) -> Waits[None]:
        """Send the replies that have gathered."""
        if self.lines:
            yield SendBytes(self.take())

    def take(self) -> bytes:
        """Return the lines that have gathered, which are sent now."""
        lines, self.lines, self._size = self.lines, [], 0
        return "".join(lines).encode("utf-8", "replace")
