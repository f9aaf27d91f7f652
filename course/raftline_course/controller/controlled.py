"""The node as a controller's orders see it: a protocol, which `node/program/node_server.py`
fulfils."""

from __future__ import annotations

from typing import Protocol

from raftline.common.address import Address
from raftline.common.config import Pace
from raftline.net.protocol.host import Batch
from raftline.raft.log import Entry
from raftline.raft.node_view import NodeView
from raftline.storage.folder import Folder
from raftline.wire.operands.operands import Limits
from raftline_course.controller.faults import Faults
from raftline_testing.orders import Order


class ControlledNode(Protocol):
    """The node that a controller gives orders to."""

    name: str
    limits: Limits
    pace: Pace
    patience_s: float  # time limit for the answer to a request
    is_down: bool
    faults: Faults

    @property
    def view(self) -> NodeView:
        """The core's view."""

    def peers(self) -> set[str]:
        """Return the names of this node's peers."""

    def address(self, name: str) -> Address | None:
        """Return the address of `name`; None for an unknown one."""

    def submit(self, batch: Batch) -> None:
        """Serve requests."""

    def order(self, order: Order) -> None:
        """Carry out an order.

        Raises:
            OrderRefused: the core can't carry it out now; nothing was changed.
        """

    def committed(self) -> tuple[int, list[Entry]]:
        """Return the index that the log begins after, and its committed entries."""

    def halt(self, patience_s: float) -> None:
        """End its threads, its connections to peers, and its hold on the files."""

    def end_connections(self) -> None:
        """End every connection except a controller's."""

    def folder(self) -> Folder:
        """Return the folder of the node's files, not locked yet."""

    def release_files(self) -> None:
        """Release the files, once no thread writes them any more."""

    def recover(self) -> None:
        """Recover from the files; StorageError: these can't be used."""

    def check_member(self) -> list[str]:
        """Return the message about the members; ConfigError: this node isn't one of them."""

    def start(self) -> None:
        """Start its threads."""
