"""A client of commands that take long to apply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..nodes.jobs_machine import NAME
from ..nodes.request_interface import Asker, Server
from ..world.plan import Plan
from ..world.world import World


@dataclass(eq=False)
class LongRequest:
    """A long command."""

    client: Asker
    number: int
    in_log: bool = True
    how: str = ""
    must_see_index: int = 0
    settled: bool = False

    @property
    def command(self) -> str:
        return f"machine {NAME} {self.number}"

    @property
    def line(self) -> str:
        return self.command


class Foreman:
    """A client of long commands, each sent once; a refused one is never repeated."""

    name = "foreman"

    def __init__(self, world: World, plan: Plan, servers: Sequence[Server]) -> None:
        self._world = world
        self._plan = plan
        self._servers = {server.name: server for server in servers}
        self._leader: str | None = None
        self._number = self._waiting = 0
        self._pause_ms = world.pick((1, 4)) * plan.long_ms  # the longest
        self.places: dict[int, int] = {}  # the places of answered commands
        self.refusals: set[int] = set()
        self.stopped = False
        self._think()

    @property
    def waits(self) -> bool:
        """Whether it has a request with an open outcome."""
        return self._waiting > 0

    def stop(self) -> None:
        self.stopped = True

    def _think(self) -> None:
        self._world.after(1 + self._world.up_to(self._pause_ms), self._ask)

    def _ask(self) -> None:
        if not self.stopped:
            self._number += 1
            request = LongRequest(self, self._number)
            self._waiting += 1
            server = self._leader or self._world.pick(list(self._servers))
            self._servers[server].submit(request)
            self._think()

    def answered(self, request: LongRequest, reply: str) -> None:
        if not request.settled:
            self._settle(request)
            assert reply.startswith("MACHINE response: "), reply
            self.places[request.number] = int(reply.rpartition(" ")[2])
            self._world.counts["long entries answered"] += 1

    def refused(self, request: LongRequest, leader: str | None) -> None:
        if not request.settled:
            self._settle(request)
            self.refusals.add(request.number)
            self._leader = leader if leader in self._servers else None

    def unknown(self, request: LongRequest) -> None:
        self._settle(request)
        self._leader = None

    def _settle(self, request: LongRequest) -> None:
        self._waiting -= not request.settled
        request.settled = True

    def judge(self, done: Sequence[int]) -> None:
        """Compare the answers with the final list of a machine.

        Raises:
            AssertionError: a command was applied twice, never, or despite a refusal.
        """
        assert len(set(done)) == len(done), f"applied twice: {done}"
        assert not self.refusals.intersection(done), f"refused and applied: {done}"
        for number, place in self.places.items():
            assert done[place - 1] == number, f"{number} was answered as number {place} of {done}"
