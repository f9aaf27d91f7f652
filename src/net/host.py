"""The node as its connections see it: a protocol, which `node/host.py` fulfils."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from raftline.net.host import Batch, ReplySink
from raftline.net.peerbook import Speakers
from raftline.raft.messages import Message
from raftline.storage.snapshotlines import MachineState
from raftline.wire.commands import Request
from raftline.wire.operands import Limits
from raftline.wire.parsing import Readings


class Origin(Protocol):
    """The source of a peer's message; the answer goes back there."""

    def answer(self, messages: Sequence[Message]) -> None: ...


class Traffic(Protocol):
    """The lines of the console about connections and what they ask."""

    def connected(self, address: object) -> None: ...
    def requested(self, sender: str, text: str) -> None: ...
    def received(self, sender: str, text: str | None, message: Message) -> None: ...


class AnsweredOrder(Protocol):
    @property
    def line(self) -> str: ...


class Orders(Protocol):
    """The orders of a controller (docs/learn/controller.md)."""

    def is_allowed(self, sender: str, host: str) -> bool: ...
    def why_no_order(self, sender: str, text: str) -> str: ...
    def obey(self, request: Request, host: str) -> AnsweredOrder: ...


class AppliedState(Protocol):
    """The applied state, for reads that need no confirmation and for backups."""

    @property
    def folder_path(self) -> str: ...
    def read(self, commands: Sequence[str]) -> list[str]: ...
    def freeze(self) -> MachineState: ...


class Host(Protocol):
    """The node that connections belong to."""

    name: str
    limits: Limits
    readings: Readings
    patience_s: float  # for the answer to a request
    is_down: bool  # by its controller's word: it hears nobody else
    speakers: Speakers

    @property
    def traffic_log(self) -> Traffic: ...
    @property
    def control(self) -> Orders: ...
    @property
    def logmanager(self) -> AppliedState: ...

    def submit(self, batch: Batch) -> None:
        """Have requests served."""

    def mark_ready(self, sink: ReplySink) -> None:
        """Have `sink` flushed after this step of the core."""

    def transfer(self, to: str | None) -> Batch:
        """Begin to hand the leadership over; the batch's one reply says how that ended."""

    def members(self) -> dict[str, object]:
        """Return the configuration in use here, as `members` tells it."""

    def status(self) -> str:
        """Return the reply to `status`."""

    def without_machine(self, command: str) -> str:
        """Return the reply to a command for a state machine that is not here, else ""."""

    def is_peer(self, name: str) -> bool:
        """Whether `name` is a member that this node talks to, or leads it."""

    def hears_from_leader(self) -> bool:
        """Whether a leader was heard within an election timeout."""

    def why_not_heard(self, sender: str, message: Message | None) -> str:
        """Return why nothing is taken from `sender`; "" for a peer, or a message that counts."""

    def hear(self, received: Sequence[Message], origin: Origin | None) -> list[str]:
        """Step what peers say; return a complaint for each message that was refused."""

    def lost(self, peer: str) -> None:
        """Tell the core that a peer's connection broke."""

    def warn(self, what: str) -> None:
        """Say that something did not work, and that the node goes on."""
