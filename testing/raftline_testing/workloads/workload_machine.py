"""The machine of a workload: it decides what to ask, and what to make of each answer.

It yields a request, which its runner sends to one node once, or a rest. It touches no socket,
thread or clock, so the same machine runs in the virtual world (virtual/clients/machine_runner.py)
and in a thread against real nodes (nemesis/workload.py).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Literal, NamedTuple, TypeAlias

Steps: TypeAlias = "Generator[Any, Any, None]"  # of requests and rests; it is sent answers


class Rest(NamedTuple):
    """A pause, of this length or of any length up to it."""

    ms: int
    is_exact: bool = False


class Answer(NamedTuple):
    """What became of a request.

    `done`: the node has replied. `refused`: this try certainly had no effect; `leader` is the node
    that the refusal names. `lost`: it may have taken effect, may yet do so, or never will.
    `denied`: the user lacks a right.
    """

    kind: Literal["done", "refused", "lost", "denied"]
    reply: str = ""
    leader: str | None = None


class WorkloadMachine:
    """A client with one request at a time, at the presumed leader or any node."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stopped = False  # set by the runner: it sends nothing new
        self.leader: str | None = None  # None: the runner picks a node, and records it here

    def was_stopped(self) -> bool:
        """Whether it was stopped during a rest."""
        return self.stopped

    def steps(self) -> Steps:
        """Ask until it is stopped."""
        raise NotImplementedError
