"""The steps of a claim, in addition to its requests (`Ask`) and to its turns (`AwaitTurn`)."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple, TypeVar

from raftline.clients.calls.calls import Ask
from raftline.clients.leases.gates import AwaitTurn

Kind = TypeVar("Kind")


class Pause(NamedTuple):
    """A step: wait until this time, by the clock of watches."""

    until_s: float


class Look(NamedTuple):
    """A step: process one line of this watch. The answer is False if the time is over, or the
    client was closed."""

    watch: Any
    until_s: float | None


class Shielded(NamedTuple):
    """A step: carry out these steps to their end, even if the caller is cancelled meanwhile."""

    steps: Claiming[None]


ClaimStep = Ask | Pause | Look | AwaitTurn | Shielded
Claiming = Generator[ClaimStep, Any, Kind]
