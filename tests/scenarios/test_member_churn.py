"""Members come and go at random while messages are lost and nodes die; the invariants hold.

Each schedule comes from its seed: `CHURN_SEED=17 pytest tests/scenarios/test_member_churn.py`
plays one, and `CHURN_SCHEDULES=5000` that many.
"""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest

from raftline.raft.membership import Membership
from tests.scenarios.world import Server, World

SCHEDULES = int(os.environ.get("CHURN_SCHEDULES", "160"))
WORKERS = 8  # tests, each with its share of the schedules
STEPS = 160
NAMES = ("s1", "s2", "s3", "s4", "s5", "s6")
SERVE_WITHIN_MS = 20_000


class Churn:
    """One schedule: three members at first, six nodes in all."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.world = World()
        self.counts: Counter[str] = Counter()
        first = NAMES[: self.chance.choice([1, 2, 3, 3, 4])]
        base = Membership(first, addresses={name: f"{name}:1" for name in first})
        for name in NAMES:
            timeouts = [self.chance.randint(150, 300) for _ in range(3000)]
            server = Server(name, timeouts)
            if name in first:
                server.base = base
            self.world.servers[name] = server
        for server in self.world.servers.values():
            self.world.boot(server)

    def trouble(self) -> None:
        for number in range(STEPS):
            self.world.said.clear()
            act = self.chance.choices(
                [self.deliver, self.lose, self.wait, self.change, self.write, self.cut, self.heal,
                 self.crash, self.restart, self.disk],
                [40, 4, 16, 10, 6, 3, 4, 3, 6, 3],
            )[0]  # fmt: skip
            act(number)

    def deliver(self, _: int) -> None:
        share = self.chance.choice([0.3, 0.8, 1.0])
        self.world.deliver(lambda sender, to: self.chance.random() < share)

    def lose(self, _: int) -> None:
        self.world.deliver(lambda sender, to: self.chance.random() < 0.3, drop=True)

    def wait(self, _: int) -> None:
        self.world.wait(
            self.world.now_ms + self.chance.choice([10, 60, 200]),
            deliver=self.chance.random() < 0.7,
        )

    def change(self, _: int) -> None:
        name, other = self.chance.sample(NAMES, 2)
        verbs = ["add", "add", "remove", "promote", "demote", "replace"]
        verb = self.chance.choice(verbs)
        words = [verb, name, other] if verb == "replace" else [verb, name]
        for server in self.leaders():
            self.world.request(server.name, "client1", " ".join(words))

    def write(self, number: int) -> None:
        for server in self.leaders():
            self.world.request(server.name, "client2", f"set k {number}")

    def leaders(self) -> list[Server]:
        return [s for s in self.world.servers.values() if s.node and s.node.is_leader]

    def cut(self, _: int) -> None:
        one, two = self.chance.sample(NAMES, 2)
        names = [two] if self.chance.random() < 0.5 else NAMES
        self.world.cuts |= {(one, name) for name in names}
        if self.chance.random() < 0.5:
            self.world.cuts |= {(name, one) for name in names}

    def heal(self, _: int) -> None:
        self.world.cuts.clear()

    def crash(self, _: int) -> None:
        server = self.world.servers[self.chance.choice(NAMES)]
        if server.node is None:
            return
        if any(work.save is not None for work in server.unsaved):
            # A lone voter may have led a term that never reached its disk, nor anybody else. Who
            # comes next may lead it once more.
            for work in server.unsaved:
                if work.save is not None:
                    self.world.checks.leaders.pop(work.save.term, None)
                for entry in work.append:
                    self.world.checks.entries.pop((entry.index, entry.term), None)
        self.world.crash(server)

    def restart(self, _: int) -> None:
        down = [server for server in self.world.servers.values() if server.node is None]
        if down:
            self.world.boot(self.chance.choice(down))

    def disk(self, _: int) -> None:
        server = self.world.servers[self.chance.choice(NAMES)]
        if server.node is not None and server.disk_held:
            self.world.release(server)
        elif server.node is not None:
            server.disk_held = True

    def serve(self) -> None:
        """All faults end: the cluster must elect, commit, and be done with every change."""
        world = self.world
        world.cuts.clear()
        for server in world.servers.values():
            if server.node is None:
                world.boot(server)
            elif server.disk_held:
                world.release(server)
        until_ms = world.now_ms + SERVE_WITHIN_MS
        while world.now_ms < until_ms and not self.serves():
            world.said.clear()
            world.wait(world.now_ms + 100, deliver=True)
        assert self.serves(), [world.status(server) for server in world.servers.values()]

    def serves(self) -> bool:
        """Whether one node leads with nothing under way, and every member is as far as it is."""
        for leader in self.leaders():
            assert leader.node is not None
            state = leader.node.state
            nodes = [self.world.servers[name].node for name in state.membership.names]
            ends = {(n.state.log.last_index, n.state.commit_index) for n in nodes if n}
            done = not state.membership.is_joint and state.work is None
            if done and ends == {(state.log.last_index, state.log.last_index)}:
                self.counts["changes"] += state.configurations.index > 0
                return state.log.term_at(state.commit_index) == state.term
        return False


@pytest.mark.parametrize("worker", range(WORKERS))
def test_members_come_and_go_and_the_invariants_hold(worker: int) -> None:
    asked = os.environ.get("CHURN_SEED")
    seeds = [int(asked)] if asked else range(worker, SCHEDULES, WORKERS)
    changed = 0
    for seed in seeds:
        churn = Churn(seed)
        try:
            churn.trouble()
            churn.serve()
        except Exception as error:
            said = "\n".join(text for _, text in churn.world.said[-60:])
            pytest.fail(f"CHURN_SEED={seed}: {type(error).__name__}: {error}\n{said}")
        changed += churn.counts["changes"] > 0
    assert asked or changed > len(seeds) // 2  # most of them got somewhere
