"""The core of a hand-in, which answers the judge's questions. This imports nothing that needs an
operating system."""

from __future__ import annotations

import importlib
import traceback
from typing import Any

from raftline.raft import effects, inputs, log, state
from raftline_course.grading.isolation import codec
from raftline_course.grading.isolation.start import Given, Start

TEXT_MAX = 600


class Core:
    """The core of one server."""

    def __init__(self) -> None:
        self._core: Any = None
        self._timeout_ms = 0
        self._drawn = 0

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Carry out one line of the judge."""
        self._timeout_ms, self._drawn = asked.get("timeout", 0), 0
        if "machine" in asked:
            machine = importlib.import_module("machine").Machine()
            return {"replies": [machine.execute(command) for command in asked["machine"]]}
        if "start" in asked:
            self._core = self._begin(asked["start"], asked["now"])
            made = effects.Effects()
        else:
            taken = codec.decode(asked["taken"], inputs.Input)
            made = self._core.step(taken, asked["now"])
        core = self._core
        role = getattr(core.role, "value", core.role)
        view = [core.term, core.vote, role, core.leader, core.commit_index, core.wake_at_ms]
        return {"effects": codec.encode(made), "view": view, "drawn": self._drawn}

    def _begin(self, start: dict[str, Any], now_ms: int) -> Any:
        options = start.pop("options")
        given = codec.decode(start, Given)
        held = log.Log(given.base_index, given.base_term)
        for entry in given.entries:
            held.append(entry.term, entry.command)
        node = importlib.import_module("raft").Node
        return node(
            Start(
                given.name,
                given.members,
                held,
                given.term,
                given.vote,
                given.snapshot,
                state.Options(**options),
                self._pick,
                given.lost,
            ),
            now_ms,
        )

    def _pick(self) -> int:
        self._drawn += 1
        return self._timeout_ms


def in_one_line(error: BaseException) -> str:
    """Return an exception in one line: the error, and its line in the hand-in."""
    places = traceback.extract_tb(error.__traceback__)
    own = [place for place in places if place.filename[:1] not in "/<"]
    where = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:TEXT_MAX]}{where}"
