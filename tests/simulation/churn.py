"""Somebody who changes the members of a simulated cluster, sensibly or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from raftline.raft.change import Change, Refused, plan
from raftline.raft.membership import Membership
from raftline.raft.node import Node
from tests.simulation.host import Host
from tests.simulation.plan import Plan
from tests.simulation.world import World


class Operator:
    """Asks whoever leads for one change after another, until told to stop."""

    def __init__(
        self, world: World, plan: Plan, hosts: Sequence[Host], addresses: Mapping[str, str]
    ) -> None:
        self._world = world
        self._plan = plan
        self._hosts = hosts
        self._addresses = addresses
        self._over = False
        if plan.change_every_ms:
            self._wait()

    def stop(self) -> None:
        """Ask for nothing more."""
        self._over = True

    def _wait(self) -> None:
        pause_ms = self._world.random.randint(1, 2 * self._plan.change_every_ms)
        self._world.after(pause_ms, self._ask)

    def _ask(self) -> None:
        if self._over:
            return
        for host in self._hosts:
            if host.node is not None and host.node.is_leader:
                host.change(self._change(host.node.state.membership), self._may_begin)
        self._wait()

    def _change(self, members: Membership) -> Change:
        """Return something that makes sense, mostly: a cluster of a few that goes on changing."""
        chance = self._world.random
        voters = list(members.voters)
        fresh = [name for name in self._addresses if name not in voters]
        verb = chance.choice(["add", "add", "remove", "replace", "promote", "demote"])
        name, old = chance.choice(list(self._addresses)), chance.choice(voters)
        if chance.random() < 0.9:
            if verb in ("add", "replace") and fresh:
                name = chance.choice(fresh)
            elif verb == "promote" and members.learners:
                name = chance.choice(members.learners)
            else:
                name = chance.choice(members.names)
        address = self._addresses[name] if verb in ("add", "replace") else ""
        return Change(verb, name, address, old if verb == "replace" else "")

    def _may_begin(self, node: Node, change: Change) -> bool:
        """Whether a majority of those who would vote have their logs: else it could never end,
        which is known (docs/membership.md)."""
        try:
            target = plan(change, node.state.membership).target
        except Refused:
            return not self._over
        whole = {host.name for host in self._hosts if host.disk.has_vote}
        return not self._over and target.is_quorum(whole)


def can_lose(hosts: Sequence[Host], name: str) -> bool:
    """Whether a quorum with whole logs is left without this one, in each configuration that is
    in use or may yet be: the ones that nodes know, before and after a change under way."""
    whole = {host.name for host in hosts if host.disk.has_vote and host.name != name}
    known: list[Membership] = []
    for host in hosts:
        state = host.state
        if state is not None:
            known += [state.membership, state.configurations.at(state.commit_index)]
            known += [state.work.target] if state.work is not None else []
    return all(members.is_quorum(whole) for members in known if members.voters)
