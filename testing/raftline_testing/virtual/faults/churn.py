"""An operator who changes the members of a simulated cluster, sensibly or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from random import Random

from raftline.raft.change import Change, ChangeRefused, plan
from raftline.raft.membership import Membership
from raftline.raft.node import RawNode

from ..nodes.simulated_node import Host, MayBegin, leaders
from ..world.places import moved
from ..world.plan import Plan
from ..world.world import World

MOVE = 0.2  # share of the schedules with changes in which members move


class Operator:
    """An operator who asks the leader for one change after another, until asked to stop."""

    def __init__(
        self,
        world: World,
        plan: Plan,
        hosts: Sequence[Host],
        addresses: Mapping[str, str],
        moving: Random | None = None,
    ) -> None:
        """`moving` draws which members move; without it, none does."""
        self._world = world
        self._plan = plan
        self._hosts = hosts
        self._addresses = dict(addresses)
        self._over = False
        if plan.change_every_ms:
            self._wait()
            if moving is not None and moving.random() < MOVE:
                self._wait_to_move(moving)
        self._let_join()

    def stop(self) -> None:
        """Send no more requests."""
        self._over = True

    def _wait(self) -> None:
        pause_ms = self._world.random.randint(1, 2 * self._plan.change_every_ms)
        self._world.after(pause_ms, self._ask)

    def _ask(self) -> None:
        if self._over:
            return
        for host, view in leaders(self._hosts):
            self._let_change(host, self._change(view.membership), self._may_begin)
        self._wait()

    def _wait_to_move(self, moving: Random) -> None:
        pause_ms = moving.randint(1, 2 * self._plan.change_every_ms)
        self._world.beside(pause_ms, moving.random(), self._move, moving)

    def _move(self, moving: Random) -> None:
        """Give a member another address (`member update`)."""
        if self._over:
            return
        for host, view in leaders(self._hosts):
            name = moving.choice(view.membership.names)
            address = self._addresses[name] = moved(self._addresses[name])
            self._let_change(host, Change("update", name, address), self._may_begin)
        self._wait_to_move(moving)

    def _may_begin(self, node: RawNode, change: Change) -> bool:
        return not self._over and self._can_end(node, change)

    def _let_join(self) -> None:
        """Repeat the request of a node that joins until it knows that it is a member."""
        self._let_newborns_join()
        for host in self._hosts:
            if host.is_joiner and host.node is not None and not host.node.view.is_member:
                self._ask_for(host.name)
        self._world.after(2 * self._plan.options.election_timeout_ms, self._let_join)

    def _let_newborns_join(self) -> None:
        """Restart newborns to join, after a console line that they know no leading member. A
        newborn with a hand-written log is refused at that. If it set the log aside, it may be in a
        later term and refuse the members, so its files are removed before."""
        led = leaders(self._hosts)
        leading = [leader.name for leader, _ in led]
        term = max([view.term for _, view in led], default=0)
        for host in self._hosts:
            state = host.view
            if host.node is None or state is None or host.is_joiner:
                continue
            is_ahead = state.may_be_new and not state.log.last_index and state.term > term
            names = {*state.membership.names}
            if leading and names.isdisjoint(leading) and (state.newborn or is_ahead):
                self._world.counts["newborns started to join"] += 1
                host.stop(power_cut=False)
                if is_ahead or state.log.last_index:
                    host.disk.lose_all(trace=True)
                host.is_joiner = True
                host.start()

    def _ask_for(self, name: str) -> None:
        for host, view in leaders(self._hosts):
            if not self._over or name in view.membership.names:
                change = Change("add", name, self._place(name, view.membership))
                self._let_change(host, change, self._can_end)

    def _place(self, name: str, members: Membership) -> str:
        """Return the address of a member, or of a node that shall be one."""
        return members.addresses.get(name, self._addresses[name])

    def _let_change(self, host: Host, change: Change, may_begin: MayBegin) -> None:
        def settle(outcome: str, text: str) -> None:
            self._world.tell("answer", f"{host.name}: {change}: {outcome}, {text}")
            kind = f"changes {outcome}"
            if outcome == "done":
                left = "without a vote" in text
                kind = "newcomers left as learners" if left else f"completed: {change.verb}"
            self._world.counts[kind] += 1

        host.change(change, settle, may_begin)

    def _change(self, members: Membership) -> Change:
        """Return a change that mostly makes sense: the cluster stays small and keeps changing."""
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
        address = self._place(name, members) if verb in ("add", "replace") else ""
        return Change(verb, name, address, old if verb == "replace" else "")

    def _can_end(self, node: RawNode, change: Change) -> bool:
        """Whether a majority of the future voters have their logs, or are new and get them first:
        else the change could never end, a known limit (docs/operate/membership.md)."""
        try:
            planned = plan(change, node.view.membership)
        except ChangeRefused:
            return True
        whole = {
            host.name
            for host in self._hosts
            if host.disk.has_vote or (host.disk.whole and host.name == planned.candidate)
        }
        return planned.target.is_quorum(whole)


def can_lose(hosts: Sequence[Host], name: str, *, with_new: bool = False) -> bool:
    """Whether a quorum with whole logs remains without this node, in each current or possible
    configuration: all that nodes know, before and after a change in progress or one that a leader
    holds until it may begin. `with_new`: a node that never ran before counts, since its operator
    may say that."""
    if not with_new and any(host.view is None for host in hosts):
        # a node that has not started yet may be needed, and may find that it has no vote
        return False
    # A node that is a learner by its own log is never a candidate: if it is ahead of a voter of a
    # joint configuration that it doesn't know, it denies that voter its vote for good
    # (docs/operate/membership.md).
    whole = {
        host.name
        for host in hosts
        if host.disk.has_vote
        and host.name != name
        and host.view is not None
        and host.name in host.view.membership.electors
    }
    if with_new:
        whole |= {host.name for host in hosts if host.may_be_said_new and host.name != name}
    configurations: list[Membership] = []
    for host in hosts:
        if host.view is None:
            configurations.append(Membership(tuple(host.members), addresses=dict(host.members)))
            continue
        state = host.view._state
        configurations += [state.membership, state.configurations.at(state.commit_index)]
        if state.leading is not None:
            pending = state.leading.pending_change
            configurations += [pending.target] if pending is not None else []
            for change, _ in state.leading.waiting:
                with suppress(ChangeRefused):
                    configurations.append(plan(change, state.membership.settled()).target)
    return all(members.is_quorum(whole) for members in configurations if members.voters)
