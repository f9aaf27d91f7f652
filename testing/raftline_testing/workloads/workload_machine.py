"""The machine of a workload: it decides what to ask, and what to make of each answer.

It yields a request, which its runner sends to one node once, or a rest. It touches no socket,
thread or clock, so the same machine runs in the virtual world (virtual/clients/machine_runner.py)
and in a thread against real nodes (nemesis/workload.py).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from .line_request import LineRequest

REPEAT_MS: Final = 20
Steps: TypeAlias = "Generator[Any, Any, None]"  # of requests and rests; it is sent answers


class Rest(NamedTuple):
    """A pause, of this length or of any length up to it."""

    ms: int
    is_exact: bool = False


class Answer(NamedTuple):
    """The outcome of a request.

    `done`: the node has replied. `refused`: this try certainly had no effect; `leader` is the node
    that the refusal names. `lost`: it may have taken effect, may yet do so, or never will.
    `denied`: the user lacks a right.
    """

    kind: Literal["done", "refused", "lost", "denied"]
    reply: str = ""
    leader: str | None = None


class Settled(NamedTuple):
    """A request in its last form, and the reply; "" if there is none."""

    request: LineRequest
    reply: str


class WorkloadMachine:
    """A client with one request at a time, at the presumed leader or any node."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stopped = False  # set by the runner: it sends nothing new
        self.is_left = False  # it was stopped before it sent a request again
        self.leader: str | None = None  # None: the runner picks a node, and records it here

    def was_stopped(self) -> bool:
        """Whether it was stopped during a rest."""
        return self.stopped

    def steps(self) -> Steps:
        """Ask until it is stopped."""
        raise NotImplementedError

    def settling(self, request: LineRequest) -> Generator[Any, Any, Settled]:
        """Send a request until it is answered, or it may not be sent again."""
        while True:
            answer: Answer = yield request
            if answer.kind == "done":
                return Settled(request, answer.reply)
            self.leader = answer.leader
            request.was_unknown = request.was_unknown or answer.kind == "lost"
            if not self._may_repeat(request):
                return Settled(request, "")
            instead = self._instead(request) if answer.kind == "lost" else ""
            yield Rest(REPEAT_MS)
            if self.stopped:
                self.is_left = True
                return Settled(request, "")
            request = self._write(instead) if instead else request.once_more()

    def _may_repeat(self, request: LineRequest) -> bool:
        """Whether a request that was not answered may be sent again."""
        return True

    def _instead(self, request: LineRequest) -> str:
        """Return the command to send instead of a request that was lost; "": the same again."""
        return ""

    def _write(self, command: str) -> LineRequest:
        """Return the request for a command that becomes an entry."""
        raise NotImplementedError
