"""The steps of a claim, in addition to its requests (`Ask`)."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, NamedTuple, TypeVar

from ..calls.calls import Ask
from .gates import Turn

Kind = TypeVar("Kind")


class Pause(NamedTuple):
    """A step: wait until this time, by the clock of watches."""

    until_s: float


class Look(NamedTuple):
    """A step: process one line of this watch. The answer is False if the time is over, or the
    client was closed."""

    watch: Any
    until_s: float | None


class AwaitTurn(NamedTuple):
    """A step: wait for a turn at a gate (`gates.py`). The answer is False if the time is over."""

    turn: Turn
    until_s: float | None


class SendOff(NamedTuple):
    """A step of a release: send this request along with the next one, or soon, and await no answer.
    `settled` gets the text of the answer later, or None if there is none. The answer of the step is
    False if there is no connection."""

    command: str
    settled: Callable[[str | None], object]


class LetGo(NamedTuple):
    """A step: carry out these steps to their end, even if the caller is cancelled meanwhile."""

    steps: Claiming[None]


ClaimStep = Ask | Pause | Look | AwaitTurn | LetGo
Claiming = Generator[ClaimStep, Any, Kind]
