"""The waits of a connection's machine (net/protocol/serving.py), and the replies that it makes
itself."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias, TypeVar

from ..reply_budget import Holder
from .host import Batch
from .outgoing_protocol import PIECE, OutgoingProtocol

_Result = TypeVar("_Result")


class WaitFor(Enum):
    """A wait of a connection for its other side."""

    BYTES = auto()  # until the protocol has received bytes or a new time
    EMPTY = auto()  # until every reply has been sent
    ROOM = auto()  # until the client may send more: see `OutgoingProtocol.is_full`


@dataclass(slots=True)
class SendBytes:
    """A wait until every reply has been sent, and then these bytes."""

    data: bytes


@dataclass(slots=True)
class AwaitReplies:
    """A bounded wait for the answer to a batch. The result is whether it arrived."""

    batch: Batch
    within_s: float


@dataclass(slots=True)
class ReserveRoom:
    """A wait until there is room for a long reply: see `ReplyRoom.reserve`."""

    holder: Holder
    in_turn: bool


Wait: TypeAlias = WaitFor | SendBytes | AwaitReplies | ReserveRoom
# A machine that yields such waits, and is sent the result of each.
Waits: TypeAlias = Generator[Wait, bool, _Result]


class Replies:
    """The replies that a connection's machine makes itself, and sends together."""

    def __init__(self, name: str, outgoing: OutgoingProtocol) -> None:
        """`outgoing` writes each line."""
        self._name = name
        self._outgoing = outgoing
        self.lines: list[str] = []  # queued replies
        self._size = 0

    def add(self, request_id: str, text: str) -> None:
        """Add the reply to a request."""
        self._append(self._outgoing.format(request_id, text))

    def _append(self, line: str) -> None:
        self.lines.append(line)
        self._size += len(line)

    def add_in_pieces(self, request_id: str, text: str) -> Waits[None]:
        """Add the reply to a request; when the replies make up a piece, send them as `flush`
        does."""
        yield from self.add_formatted(self._outgoing.format(request_id, text))

    def add_formatted(self, line: str) -> Waits[None]:
        """Do the same with a reply that is already encoded."""
        self._append(line)
        if self._size >= PIECE:
            yield from self.flush()

    def flush(self) -> Waits[None]:
        """Send the queued replies."""
        if self.lines:
            yield SendBytes(self.take())

    def take(self) -> bytes:
        """Return the queued lines, to be sent now, and forget them."""
        lines, self.lines, self._size = self.lines, [], 0
        return "".join(lines).encode("utf-8", self._outgoing.errors)
