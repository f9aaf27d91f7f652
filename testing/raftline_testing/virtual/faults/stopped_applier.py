"""A leader whose applier stops: it hears from its followers, writes its log, commits, and applies
nothing. Then another node must serve.

`run_stopped_applier` stops it in a cluster that is otherwise sound, though its network may lose and
delay messages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from ..nodes.simulated_node import Host, leaders
from ..schedule import Schedule, as_planned, few_collections
from .divergence import FIRST_ENTRIES, STEPS, WITHIN_MS, plan_of

SERVED_WITHIN = 30  # election timeouts: ten until it is noticed, a transfer, and an election


def run_stopped_applier(seed: int, nodes: int = 3) -> Counter[str]:
    """Stop the applier of the leader, see the cluster serve again, and return the counts.

    Raises:
        AssertionError: nobody served in time, or the nodes did not agree after a restart.
    """
    schedule = Schedule(seed, plan_of(seed, nodes), None)
    with few_collections(), as_planned(schedule):
        return _Scenario(schedule).run()


class _Scenario:
    """One stop, from the start of the cluster to its end."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._world = schedule.world
        self._hosts = list(schedule.hosts.values())
        self._timeout_ms = schedule.plan.options.election_timeout_ms

    def run(self) -> Counter[str]:
        self._schedule.upgrades.put_above_floor()
        self._schedule.first_starts()
        self._until("apply entries and settle", self._have_settled)
        victim = self._stopped()
        before = self._acknowledged()
        within_ms = SERVED_WITHIN * self._timeout_ms
        self._until("serve", lambda: self._acknowledged() > before, within_ms)
        assert not victim.node or not victim.node.view.is_leader, "it leads and applies nothing"
        victim.stop(power_cut=False)
        victim.start()
        for client in self._schedule.clients:
            client.stop()
        self._until("agree", self._agree)
        return Counter(self._world.counts)

    def _until(self, what: str, is_so: Callable[[], bool], within_ms: int = WITHIN_MS) -> None:
        deadline_ms = self._world.now_ms + within_ms
        while not is_so():
            assert self._world.now_ms < deadline_ms, f"the cluster does not {what}"
            for _ in range(STEPS):
                self._world.step()

    def _acknowledged(self) -> int:
        return max(host.requests.invariants.acknowledged_index for host in self._hosts)

    def _have_settled(self) -> bool:
        return all(
            host.node is not None
            and host.node.view.applied >= FIRST_ENTRIES
            and not host.node.view.identity.is_at_floor
            for host in self._hosts
        ) and bool(leaders(self._hosts))

    def _stopped(self) -> Host:
        """Stop the applier of the leader at a moment at which it has nothing left to apply."""
        found: list[Host] = []

        def stop() -> bool:
            for host, view in leaders(self._hosts):
                applying = host.stepper.applying
                if view.applied == view.commit_index and not applying.follows_a_write:
                    applying.awaits_offload = True  # for a thread that is gone
                    found.append(host)
            return bool(found)

        self._until("have an idle leader", stop)
        self._world.tell("act", f"> stop the applier of {found[0].name}")
        self._world.counts["appliers that stop"] += 1
        return found[0]

    def _agree(self) -> bool:
        """Whether all nodes hold the same pairs after the same entry."""
        states = [(host.manager.applied, dict(host.manager.store.held)) for host in self._hosts]
        return all(state == states[0] for state in states)
