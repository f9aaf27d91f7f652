"""`raftline.errors`: every error of raftline. The most common ones are also in `raftline`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftline.common.errors import RaftlineError
from raftline.common.extensions import is_there
from raftline.state.commands.machines import Rejected

from .clients.calls.kv_errors import EventsGone, LeaseLost, NotUnderstood, TooManyWatches
from .clients.connections.node_connection import (
    ClientError,
    Closed,
    LoginFailed,
    NoLeader,
    NotAllowed,
    NotLeader,
    OtherCluster,
    OutcomeUnknown,
    Refused,
    TimedOut,
    Unreachable,
)

__all__ = [
    "ClientError", "Closed", "EventsGone", "LeaseLost", "LoginFailed", "NoLeader", "NotAllowed",
    "NotLeader", "NotUnderstood", "OtherCluster", "OutcomeUnknown", "RaftlineError", "Refused",
    "Rejected", "TimedOut", "TooManyWatches", "Unreachable",
]  # fmt: skip
if TYPE_CHECKING or is_there("objects"):
    from raftline.objects.base import NodeError, WrongKind

    __all__ += ["NodeError", "WrongKind"]


def __dir__() -> list[str]:
    return list(__all__)
