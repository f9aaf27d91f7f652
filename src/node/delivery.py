"""The way of a message, at once or after a write: an answer back to its question's connection,
the rest to the peers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from raftline.net.host import Origin
from raftline.node.writer import DiskTask, Writer
from raftline.raft.effects import Effects
from raftline.raft.messages import Answer, Message, ReadIndex, ReadIndexReply


class Delivery:
    """Sends an Effects' messages, and leaves with the writer what the disk comes before.

    The caller holds the driver's `core` lock.
    """

    def __init__(self, send: Callable[[Message], None], writer: Writer) -> None:
        self._send = send
        self._writer = writer
        self._askers: dict[str, Origin | None] = {}  # where a follower's last ReadIndex came from

    def asked(self, message: Message, origin: Origin | None) -> None:
        """Remember who asks what may be answered by another step than this one."""
        if isinstance(message, ReadIndex):
            self._askers[message.sender] = origin

    def dispatch(self, effects: Effects, origin: Origin | None) -> None:
        """Send what may leave at once; queue what is to be written, and what may not overtake
        that. `origin` is where the message came from that is answered."""
        for message in effects.send:
            self._send(message)
        if effects.wants_disk or (effects.send_after_save and self._writer.is_busy):
            self._writer.add((effects, origin))
        elif effects.send_after_save:
            self.deliver(effects.send_after_save, origin)

    def written(self, tasks: Sequence[DiskTask]) -> None:
        """Let the messages go that waited for these writes."""
        for effects, origin in tasks:
            if effects.send_after_save:
                self.deliver(effects.send_after_save, origin)

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
