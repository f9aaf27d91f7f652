"""The machine of a program whose commands take long to apply."""

from __future__ import annotations

from raftline.state.commands.machines import Machines
from raftline.wire.strict_json import Json

NAME = "jobs"


class Jobs:
    """A state machine that lists its commands."""

    def __init__(self) -> None:
        self._done: list[Json] = []

    def apply(self, command: Json) -> Json:
        self._done.append(command)
        return len(self._done)

    def snapshot(self) -> Json:
        return list(self._done)

    def restore(self, state: Json) -> None:
        assert isinstance(state, list)
        self._done = list(state)


def machines() -> Machines:
    """Return the state machines of one node."""
    return Machines({NAME: Jobs()})
