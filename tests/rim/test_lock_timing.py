"""A lock by a clock that a test moves: the holder knows first that its time is over."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import raftline
from raftline.clients.connection import ClientError
from raftline.objects import lock as module
from raftline.objects.base import LockLost
from tests.rim.test_replicated import Cluster

LEASE_S = 8.0
PATIENCE_S = LEASE_S * 1.25  # of who watches


class SlowCluster(Cluster):
    """A cluster whose clock goes on while a question travels, and while its answer does."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 100.0
        self.there_s = self.back_s = 0.0
        self.is_away = False
        self.limits: list[float | None] = []

    def request(self, command: str, timeout: float | None = None) -> str:
        self.limits.append(timeout)
        self.now_s += self.there_s
        if self.is_away:
            raise ClientError("nobody answers")
        reply = super().request(command, timeout)
        self.now_s += self.back_s
        return reply


class Over:
    """Stands in for the event that ends the beats: says when, and how long each wait was."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.is_set = False
        self.beats = 3

    def set(self) -> None:
        self.is_set = True

    def wait(self, timeout: float) -> bool:
        self.waits.append(timeout)
        return len(self.waits) > self.beats


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> SlowCluster:
    return clocked(monkeypatch)


def clocked(monkeypatch: pytest.MonkeyPatch) -> SlowCluster:
    """Return a cluster whose clock the locks read; nobody beats but the test."""
    cluster = SlowCluster()
    silent = SimpleNamespace(start=lambda: None)
    threads = SimpleNamespace(Lock=module.threading.Lock, Event=Over, Thread=lambda **_: silent)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: cluster.now_s))
    monkeypatch.setattr(module, "threading", threads)
    return cluster


def door(cluster: Cluster, lease: float = LEASE_S, **more: Any) -> raftline.ReplicatedLock:
    return raftline.ReplicatedLock("door", node=cluster, lease=lease, **more)


def got(cluster: SlowCluster, **more: Any) -> raftline.ReplicatedLock:
    lock = door(cluster, **more)
    assert lock.acquire(blocking=False)
    return lock


def test_a_holder_counts_from_before_it_asked_for_the_lock(cluster: SlowCluster) -> None:
    cluster.there_s, cluster.back_s = 3.0, 2.0  # each for a look and for the acquisition
    lock = got(cluster)
    cluster.now_s = 107.9
    assert lock.is_held
    cluster.now_s = 108.0
    assert not lock.is_held


def test_a_beat_renews_the_lease_from_before_its_request(cluster: SlowCluster) -> None:
    lock = got(cluster)
    cluster.now_s, cluster.there_s, cluster.back_s = 105.0, 1.0, 3.0
    assert lock.check() == lock.token
    cluster.now_s = 112.9
    assert lock.is_held
    cluster.now_s = 113.0
    assert not lock.is_held


def test_an_unanswered_beat_leaves_the_lease_unchanged(cluster: SlowCluster) -> None:
    lock = got(cluster)
    holding = lock._local.holding
    assert holding is not None
    cluster.now_s, cluster.is_away = 107.0, True
    lock._keep(holding)  # three beats
    assert lock.is_held
    cluster.now_s = 108.0
    assert not lock.is_held


def test_a_holder_loses_the_lock_at_once_if_a_reply_names_another(cluster: SlowCluster) -> None:
    lock = got(cluster)
    holding = lock._local.holding
    assert holding is not None
    cluster.request(f'object door lock.seize "another" 9000 {holding.token} 0')
    assert lock.is_held  # as far as it knows
    cluster.asked.clear()
    lock._keep(holding)
    assert len(cluster.asked) == 1  # and no beat more
    assert not lock.is_held
    with pytest.raises(LockLost, match="is not held here any more"):
        lock.check()


def test_a_holder_beats_four_times_in_a_lease_until_it_releases(cluster: SlowCluster) -> None:
    lock = got(cluster)
    holding = lock._local.holding
    assert holding is not None
    lock._keep(holding)
    over: Any = holding.over
    assert over.waits == [LEASE_S / 4] * 4
    found = lock.holder()
    assert found is not None
    assert found["beat"] == 3
    lock.release()
    assert over.is_set


@pytest.mark.parametrize(("own", "limit"), [(None, 4.0), (60.0, 4.0), (2.0, 2.0)])
def test_a_beat_waits_half_a_lease_at_most_within_the_locks_limit(
    cluster: SlowCluster, own: float | None, limit: float
) -> None:
    lock = got(cluster, timeout=own)
    lock.check()
    assert cluster.limits[-1] == limit


def test_a_watcher_counts_a_lease_and_a_quarter_from_after_it_saw_the_beat(
    cluster: SlowCluster,
) -> None:
    got(cluster)
    waiting = door(cluster, lease=3.0)
    cluster.there_s, cluster.back_s = 2.0, 1.0
    assert not waiting.acquire(blocking=False)
    seen_s = cluster.now_s
    cluster.there_s = cluster.back_s = 0.0
    cluster.now_s = seen_s + PATIENCE_S  # the holder's lease counts, not its own
    assert not waiting.acquire(blocking=False)
    cluster.now_s += 0.001
    assert waiting.acquire(blocking=False)
    found = waiting.holder()
    assert found is not None
    assert (found["token"], found["lease_ms"], found["beat"]) == (waiting.token, 3000, 0)


def test_each_beat_that_a_watcher_sees_begins_its_wait_anew(cluster: SlowCluster) -> None:
    holder, waiting = got(cluster), door(cluster)
    assert not waiting.acquire(blocking=False)
    cluster.now_s += PATIENCE_S + 1
    holder.check()
    assert not waiting.acquire(blocking=False)
    cluster.now_s += PATIENCE_S
    assert not waiting.acquire(blocking=False)
    cluster.now_s += 0.001
    assert waiting.acquire(blocking=False)


def test_a_new_holder_begins_a_watchers_wait_anew(cluster: SlowCluster) -> None:
    first, waiting = got(cluster), door(cluster)
    assert not waiting.acquire(blocking=False)
    first.release()
    second = got(cluster)
    cluster.now_s += PATIENCE_S + 1
    assert not waiting.acquire(blocking=False)  # both have beaten no time at all
    cluster.now_s += PATIENCE_S + 1
    assert waiting.acquire(blocking=False)
    assert not second.is_held


def test_a_beat_between_a_look_and_a_seizure_keeps_the_lock(
    cluster: SlowCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder, waiting = got(cluster), door(cluster)
    assert not waiting.acquire(blocking=False)
    cluster.now_s += PATIENCE_S + 1
    ask = cluster.request

    def request(command: str, timeout: float | None = None) -> str:
        if " lock.seize " in command:
            ask(f'object door lock.beat "{holder_name}" {holder.token}')
        return ask(command, timeout)

    found = holder.holder()
    assert found is not None
    holder_name = found["owner"]
    monkeypatch.setattr(cluster, "request", request)
    assert not waiting.acquire(blocking=False)
    assert holder.check() == found["token"]


@pytest.mark.parametrize("lease", [0.0, 0.099, 86_401.0, -1.0])
def test_a_lease_that_leaves_no_time_for_a_beat_is_refused(
    cluster: SlowCluster, lease: float
) -> None:
    with pytest.raises(ValueError, match=r"from 0\.1 seconds to a day"):
        door(cluster, lease)


_SECONDS = st.sampled_from([0.0, 0.5, 2.4, 2.5, 5.0, 9.9, 10.0, 12.4, 12.5, 12.6])


@given(st.lists(st.tuples(st.booleans(), _SECONDS, _SECONDS, _SECONDS), max_size=20))
def test_two_holders_never_overlap_by_one_clock(
    steps: list[tuple[bool, float, float, float]],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        cluster = clocked(patch)
        holder, waiting = got(cluster), door(cluster)
        for beats, pause_s, cluster.there_s, cluster.back_s in steps:
            cluster.now_s += pause_s
            if beats:
                holder._renew(holder._local.holding)  # type: ignore[arg-type]
            elif waiting.acquire(blocking=False):
                assert not holder.is_held
                return
