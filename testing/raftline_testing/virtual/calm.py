"""Three nodes in virtual time without clients and faults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from raftline.raft.inputs import PeerBuild

from ..workloads.line_request import LineRequest
from .nodes.simulated_node import Host, leaders
from .schedule import Schedule
from .world.plan import NEVER, Plan, pick_plan

ROUND_MS = 40  # delays of 2 ms, a disk that takes 2 ms, and nobody's faults
ELECTION_MS = 10 * 150  # also where votes are split


class Calm:
    """Three nodes of this build without clients and faults; the test speaks for the holder."""

    name = "holder"

    def __init__(self, seed: int = 5, **more: object) -> None:
        plan = pick_plan(Random(seed), 3, ["heal"])
        options = replace(
            plan.options,
            election_timeout_ms=150,
            heartbeat_ms=50,
            batch_bytes=1 << 20,
            batch_entries=2000,
            window=8,
            lease=False,
        )
        plan = replace(
            plan,
            options=options,
            loss=0,
            duplicates=0,
            late=0,
            replays=0,
            delay_ms=2,
            disk_ms=2,
            steady_clocks=True,
            apply_max=4096,
            spares=0,
            change_every_ms=0,
            by_hand=0,
            late_starts=0,
            nonmember_every_ms=0,
            said_new=0,
            clients=1,
            holders=0,
            compact_bytes=NEVER,
            restarts_differ=0,
        )
        self.plan: Plan = replace(plan, **more)  # type: ignore[arg-type]
        self.schedule = Schedule(seed, self.plan, None)
        self.world = self.schedule.world
        self.hosts = list(self.schedule.hosts.values())
        self.replies: list[str] = []
        for host in self.hosts:
            host.is_at_floor = False
            host.requests.rough = None
            host.disk.die_soon = lambda: None  # type: ignore[method-assign]
        client: Any
        for client in (*self.schedule.talkers, *self.schedule.watch_clients):
            client.stop()
        self.schedule.first_starts()
        self.schedule.clients[0].stop()
        self.tell_builds()
        self.until(lambda: not any(host.manager.store.is_at_floor for host in self.hosts))

    def tell_builds(self) -> None:
        for host in self.hosts:
            for other in self.hosts:
                if other is not host:
                    host.take(PeerBuild(other.name, frozenset()))

    def until(self, is_so: Callable[..., object], longest_ms: int = 60_000) -> int:
        """Pass the time until it is so; return the time."""
        end_ms = self.world.now_ms + longest_ms
        while not is_so():
            assert self.world.now_ms < end_ms, "it never comes to that"
            self.world.step()
        return self.world.now_ms

    def wait(self, ms: int) -> None:
        due: list[bool] = []
        self.world.after(ms, due.append, True)
        self.until(lambda: due)

    @property
    def leader(self) -> Host:
        """The leader of the latest term."""
        self.until(lambda: leaders(self.hosts))
        return max(leaders(self.hosts), key=lambda pair: pair[1].term)[0]

    def ask(self, command: str, *, in_log: bool = True) -> tuple[str, int]:
        """Return the leader's reply, and when this was sent."""
        self.replies.clear()
        sent_ms = self.world.now_ms
        self.leader.submit(LineRequest(self, command, sent_ms, in_log, "clock"))
        self.until(lambda: self.replies)
        return self.replies[0], sent_ms

    def lease(self, seconds: int) -> tuple[str, int]:
        reply, sent_ms = self.ask(f"lease {seconds}")
        return reply.split()[2], sent_ms

    def ended(self, lease: str, longest_ms: int = 60_000) -> int:
        """Return when the first node has applied the end of the lease."""

        granted = int(lease.removeprefix("lease-"))

        def has_ended() -> bool:
            managers = [host.manager for host in self.hosts]
            managers = [each for each in managers if each.applied.index >= granted]
            return any(lease not in each.store.leases.granted for each in managers)

        return self.until(has_ended, longest_ms)

    def answered(self, request: LineRequest, reply: str) -> None:
        self.replies.append(reply)

    def refused(self, request: LineRequest, leader: str | None) -> None:
        self.replies.append(f"refused, {leader}")

    def unknown(self, request: LineRequest) -> None:
        self.replies.append("unknown")
