"""Doors: other protocols on the port of a node, each chosen by the first bytes of a connection.

A door is the module `door` of an extension, whose function `at_node` is called as `doors_at` is.

The lines of raftline are not a door: they are what a connection speaks that no door opens for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, Protocol

from ...common.extensions import joined
from ...wire.commands.parsing import ParsedLine
from ...wire.operands.operands import Limits
from ..line_reader import LineBuffer
from .admission import Admission
from .host import DoorHost
from .outgoing_protocol import OutgoingProtocol
from .run_work import RunWork
from .trials import Trials
from .user_calls import UserCalls
from .waits import Replies, Waits


class Malformed(Exception):
    """Bytes that are not of the door's protocol. The message follows `Protocol error: `."""


class PlainRequests(Protocol):
    """Consecutive requests that need no individual checks: all of them read, or all of them
    write."""

    @property
    def is_read(self) -> bool: ...
    @property
    def commands(self) -> list[str]:
        """The lines."""

    @property
    def ids(self) -> list[str]:
        """The formatter of each reply."""


class DoorRequest(Protocol):
    """A request as this node serves it: an admitted line, or something for `DoorServing`."""

    kind: str  # "read", "write", or one of the door's own
    line: ParsedLine | None
    id: str  # what formats the reply


class DoorRequests(Protocol):
    """The bytes of one connection as runs of requests, in order."""

    work: RunWork  # of the last run
    trials: Trials

    def receive_data(self, data: bytes, now_s: float) -> None:
        """Take bytes that arrived."""

    @property
    def has_more(self) -> bool:
        """Whether there is input that was not looked at, or not handed out."""

    def forget(self) -> None:
        """Drop the remaining input."""

    def next_plain(self) -> PlainRequests | None:
        """Return the next requests if they are plain ones; None if they are not. `next_run` would
        return the same lines."""

    def next_run(self, *, may_wait: bool) -> Sequence[DoorRequest]:
        """Admit the next requests, as long as they are of one kind. Unless the caller `may_wait`,
        stop before one that needs the connection's own thread.

        Raises:
            Malformed: the bytes are not requests.
            HalfLine: a request began long ago and has not ended.
        """


class DoorServing(Protocol):
    """Serves the requests of one connection that are not batches of lines."""

    @property
    def ends(self) -> bool:
        """Whether the connection ends after the replies."""

    def serve(self, run: Sequence[Any], rights: object) -> Waits[None]:
        """Reply to requests of `DoorRequests`, in order. `rights` are the users by whose rights
        they were admitted."""

    def end(self) -> None:
        """Forget all watches, since the connection ends."""

    def end_refused(self, why_not: Callable[[str], str]) -> None:
        """End the watches that are no longer allowed. Any thread may call this."""


class OpenDoor(Protocol):
    """A door at one connection."""

    @property
    def requests(self) -> DoorRequests: ...
    def serving(
        self,
        outgoing: OutgoingProtocol,
        replies: Replies,
        calls: UserCalls,
        break_off: Callable[[], None],
        note_user: Callable[[], None],
    ) -> DoorServing:
        """Return what serves the connection, and set how `outgoing` writes replies. `break_off`
        ends the connection. `note_user` is called after each login."""


class Door(Protocol):
    """A door at one node, with what its connections share. Any thread may call it."""

    def opens_for(self, data: bytes) -> bool:
        """Whether these are the first bytes of a connection that speaks this protocol."""

    def open(self, host: DoorHost, admission: Admission, lines: LineBuffer) -> OpenDoor:
        """Take a connection, whose bytes are not handed over yet. `lines` keeps the bytes of a
        request that has not ended, within its bounds."""

    def is_led_from(self, address: str, *, is_here: bool) -> bool:
        """Note the address of the leader, and whether it is this node; return whether
        `announce_leader` has to be called."""

    def announce_leader(self) -> None:
        """Tell the clients that wait for a new leader, without waiting for a reader."""


def doors_at(
    limits: Limits, time_s: Callable[[], float], new_token: Callable[[int], str]
) -> tuple[Door, ...]:
    """Return the doors of a node. `time_s` returns the time of day, and `new_token` random bytes in
    hexadecimal digits."""
    return tuple(module.at_node(limits, time_s, new_token) for module in _modules())


@functools.cache
def _modules() -> list[ModuleType]:
    return joined("door")
