"""Where messages go: an answer back to where its question came from, the rest to the peers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from raftline.net.host import Origin
from raftline.raft.messages import Answer, Message
from raftline.raft.questions import ReadIndex, ReadIndexReply


class Delivery:
    """Whoever calls holds the driver's `core` lock."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send
        self._askers: dict[str, Origin | None] = {}  # where a follower's last ReadIndex came from

    def asked(self, message: Message, origin: Origin | None) -> None:
        """Remember who asks what may be answered by another step than this one."""
        if isinstance(message, ReadIndex):
            self._askers[message.sender] = origin

    def deliver(self, messages: Sequence[Message], origin: Origin | None) -> None:
        """Let messages go; `origin` is where the message came from that they answer."""
        answers = []
        for message in messages:
            if isinstance(message, ReadIndexReply):  # made true by whoever completed a quorum
                asker = self._askers.get(message.to)
                if asker is not None:
                    asker.answer([message])
            elif isinstance(message, Answer):
                answers.append(message)
        if answers and origin is not None:
            origin.answer(answers)
        for message in messages:
            if not isinstance(message, Answer):
                self._send(message)
