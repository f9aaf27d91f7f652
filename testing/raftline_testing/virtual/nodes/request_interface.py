"""The interface between a simulated client, a node, and a request between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from raftline.net.protocol.host import Batch


class Asker(Protocol):
    """The receiver of a request's outcome: one of these is called, once."""

    name: str

    def answered(self, request: Any, reply: str) -> None: ...
    def refused(self, request: Any, leader: str | None) -> None: ...
    def unknown(self, request: Any) -> None: ...


class Request(Protocol):
    """A request that a node has."""

    must_see_index: int  # the acknowledged index when it reached its node

    @property
    def client(self) -> Asker: ...
    @property
    def command(self) -> str: ...
    @property
    def line(self) -> str: ...
    @property
    def in_log(self) -> bool: ...
    @property
    def how(self) -> str: ...


class Server(Protocol):
    """A node as a client sees it."""

    name: str

    def submit(self, request: Any) -> None: ...


class Asked:
    """A line in flight, and its reply."""

    def __init__(
        self,
        request: Request | None,
        request_id: str,
        heard: Callable[[str | None], None] | None = None,
    ) -> None:
        """Create a line; without a request, `heard` gets the reply, or None if there won't be
        one."""
        self.request = request
        self.request_id = request_id
        self.heard = heard
        self.batch: Batch | None = None  # its batch; None: the node answered by itself
        self.place = 0  # there
        self.is_applied = False  # its reply comes from its entry
        self.reply = ""
