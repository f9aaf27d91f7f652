"""The runner of a workload's machine in virtual time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...workloads.mix import WAYS, Mix
from ...workloads.workload_machine import Answer, Rest, Steps, WorkloadMachine
from ..nodes.request_interface import Server
from ..world.plan import Plan
from ..world.world import World
from .one_at_a_time import OneAtATime


def mix_of(plan: Plan) -> Mix:
    """Return the requests of a schedule's clients."""
    return Mix(
        keys=plan.keys,
        counters=1,
        conditions=plan.conditions,
        appends=plan.appends,
        sessions=plan.sessions,
        retries_behind=plan.retries_behind,
        ways=WAYS,
        logged_reads=plan.logged_reads,
        think_ms=plan.think_ms,
        election_ms=plan.options.election_timeout_ms,
    )


class MachineRunner(OneAtATime):
    """A client whose machine decides what it asks."""

    def __init__(
        self, world: World, plan: Plan, machine: WorkloadMachine, servers: Sequence[Server]
    ) -> None:
        super().__init__(world, plan, machine.name, servers)
        self._machine = machine
        self._rests = 0  # counts the steps, so that a late timer ends no other rest
        self.run(machine.steps())

    def run(self, steps: Steps) -> None:
        """Carry out these steps, and no others."""
        self._steps = steps
        self._go_on(None)

    def stop(self) -> None:
        """Send nothing new; earlier requests may still be answered."""
        self.stopped = self._machine.stopped = True
        if self.waiting is None:
            self._go_on(None)

    def _go_on(self, answer: Answer | None) -> None:
        self._rests += 1
        try:
            step = self._steps.send(answer)
        except StopIteration:
            return
        if not isinstance(step, Rest):
            self._send(step)
        elif step.is_exact:
            self._world.after(step.ms, self._wake, self._rests)
        else:
            self._world.within(step.ms, self._wake, self._rests)

    def _wake(self, number: int) -> None:
        if number == self._rests:
            self._go_on(None)

    def _send(self, request: Any) -> None:
        request.client, self._leader = self, self._machine.leader
        super()._send(request)
        self._machine.leader = self._leader

    def answered(self, request: Any, reply: str) -> None:
        """Take the reply."""
        if self._settle(request):
            self._world.tell("answer", f"{self.name} <- {reply}")
            self._go_on(Answer("done", reply))

    def refused(self, request: Any, leader: str | None) -> None:
        """Take a refusal: the request certainly had no effect."""
        if self._settle(request):
            self._go_on(Answer("refused", leader=leader if leader in self._servers else None))

    def unknown(self, request: Any) -> None:
        """Handle a request that may have taken effect, may yet do so, or never will."""
        if self._settle(request):
            self._world.tell("answer", f"{self.name} gives up on {request.line}")
            self._go_on(Answer("lost"))
