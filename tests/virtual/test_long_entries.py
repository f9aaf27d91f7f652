"""Entries that take a second to apply: the leader is kept, nobody else waits, nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from raftline.raft.inputs import Transfer
from raftline.raft.messages import AppendEntries, Message
from raftline_testing.virtual.calm import ELECTION_MS, ROUND_MS, Calm
from raftline_testing.virtual.clients.foreman import Foreman
from raftline_testing.virtual.nodes.jobs_machine import NAME
from raftline_testing.virtual.nodes.simulated_node import Host, leaders

Send = Callable[[Message], bool]
LONG_MS = 1000
HEARTBEAT_MS = 50


class Slow(Calm):
    """A calm cluster with entries of a second, snapshots all the time, and a client."""

    def __init__(self) -> None:
        super().__init__(compact_bytes=400, clients=2, long_ms=LONG_MS)
        self.heartbeats: dict[tuple[str, str], int] = {}
        self.longest_ms = 0
        for host in self.hosts:
            host.network_send = self._heard(host, host.network_send)

    def _heard(self, host: Host, send: Send) -> Send:
        """Note how long a leader says nothing to a follower."""

        def heard(message: Message) -> bool:
            if isinstance(message, AppendEntries):
                pair, now_ms = (message.sender, message.to), self.world.now_ms
                self.longest_ms = max(self.longest_ms, now_ms - self.heartbeats.get(pair, now_ms))
                self.heartbeats[pair] = now_ms
            return send(message)

        return heard

    @property
    def foreman(self) -> Foreman:
        assert self.schedule.foreman is not None
        return self.schedule.foreman

    @property
    def are_at_it(self) -> bool:
        """Whether each node that is up applies a long entry now."""
        up = [host for host in self.hosts if host.node is not None]
        return all(host.pairs_lock.is_held for host in up)

    def judge(self) -> None:
        """End all, and compare."""
        self.foreman.stop()
        for host in self.hosts:
            host.start()
        self.tell_builds()
        logs = [host.manager for host in self.hosts]
        self.until(lambda: not self.foreman.waits)
        self.until(lambda: len({host.manager.applied.index for host in self.hosts}) == 1)
        done = {manager.store.get(NAME, "[]") for manager in logs}
        assert len(done) == 1
        self.foreman.judge(json.loads(done.pop()))


def test_a_leader_is_kept_amid_entries_of_a_second() -> None:
    """With snapshots, backups and looks at the status meanwhile."""
    slow = Slow()
    leader = slow.leader
    assert leader.node is not None
    term = leader.node.view.term
    slow.longest_ms = 0
    slow.heartbeats.clear()
    for _ in range(40):
        for host in slow.hosts:
            host.status()
            host.back_up()
        slow.wait(LONG_MS // 2)
    assert slow.leader is leader
    assert leader.node.view.term == term
    assert slow.longest_ms <= HEARTBEAT_MS + ROUND_MS
    counts = slow.world.counts
    assert counts["long entries begun"] > 15
    assert counts["backups"] > 30
    assert counts["snapshots taken"] > 3
    slow.judge()


def test_votes_do_not_wait_for_a_long_entry() -> None:
    slow = Slow()
    for power_cut in (False, True):
        slow.until(lambda: slow.are_at_it)
        leader = slow.leader
        leader.stop(power_cut=power_cut)
        died_ms = slow.world.now_ms
        elected_ms = slow.until(lambda: leaders(slow.hosts))
        assert elected_ms - died_ms < ELECTION_MS
        leader.start()
        slow.tell_builds()
    slow.judge()


def test_a_transfer_does_not_wait_for_a_long_entry() -> None:
    slow = Slow()
    slow.until(lambda: slow.are_at_it)
    leader = slow.leader
    leader.take(Transfer(None))
    begun_ms = slow.world.now_ms
    assert slow.until(lambda: slow.leader is not leader) - begun_ms < LONG_MS / 2
    slow.judge()


@pytest.mark.parametrize("power_cut", [False, True])
def test_all_that_stop_amid_a_long_entry_apply_it_once(power_cut: bool) -> None:
    slow = Slow()
    for _ in range(3):
        slow.until(lambda: slow.are_at_it)
        for host in slow.hosts:
            host.stop(power_cut=power_cut)
        for host in slow.hosts:
            host.start()
        slow.tell_builds()
    slow.until(lambda: slow.world.counts["long entries answered"] > 3)
    slow.judge()
