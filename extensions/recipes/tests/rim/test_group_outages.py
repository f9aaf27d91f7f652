"""Members of a party, a partitioner or a double barrier whose requests fail: nothing of theirs
stays while their program lives, and nobody is left alone in a round."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import pytest

from raftline.clients.calls.calls import Call
from raftline.clients.connections.node_connection import OutcomeUnknown, Unreachable
from raftline.recipes.groups import partition_steps
from raftline.recipes.groups.barrier import DoubleBarrier
from raftline.recipes.groups.barrier_steps import BarrierKeys
from raftline.recipes.groups.partition_steps import PartitionKeys
from raftline.recipes.groups.partitioner import Partitioner
from raftline.recipes.groups.party import Party
from raftline.recipes.groups.party_steps import PartyKeys
from raftline.recipes.tests.rim.lock_cluster import Cluster, keeps_on
from raftline_testing.nodes.processes import DEADLINE_S, eventually
from raftline_testing.runner.at_night import in_the_rest


def party(cluster: Cluster) -> Party[str]:
    return Party(cluster, cluster.keeper, cluster.watch, PartyKeys("web"), 10)


def work(cluster: Cluster) -> Partitioner[str]:
    return Partitioner(cluster, cluster.keeper, cluster.watch, PartitionKeys("work", 4), 10)


def step(cluster: Cluster) -> DoubleBarrier:
    return DoubleBarrier(cluster, cluster.keeper, cluster.watch, BarrierKeys("step", 2), 10)


class FailsOnce:
    """Raises an error for the first command that begins so."""

    def __init__(self, begin: str, error: type[Exception] = OutcomeUnknown) -> None:
        self.command = ""
        self._begin = begin
        self._error = error

    def __call__(self, command: str) -> None:
        if command.startswith(self._begin) and not self.command:
            self.command = command
            raise self._error("no answer")


def members(cluster: Cluster) -> list[str]:
    return [key for key in cluster.model.store if "/held/" in key]


@pytest.mark.parametrize(("make", "verb"), [(party, "hold"), (work, "txn")])
@pytest.mark.parametrize("point", ["before", "after"])
def test_failed_join_leaves_no_member_despite_a_late_copy(
    make: Callable[[Cluster], Any], verb: str, point: str
) -> None:
    """A join that failed leaves no member even if a copy arrives later."""
    cluster = Cluster()
    make(cluster).join("first").release()
    failure = FailsOnce(verb)
    setattr(cluster, point, failure)
    with pytest.raises(OutcomeUnknown):
        make(cluster).join("lost")
    assert members(cluster) == []
    cluster.carry_out(Call(failure.command, str))
    assert members(cluster) == []
    with make(cluster).join("next"):
        assert len(members(cluster)) == 1


@pytest.mark.parametrize("point", ["before", "after"])
def test_unknown_shards_of_a_member_are_free_once_it_left(point: str) -> None:
    """Shards that a member took unknowingly are free once it has left."""
    cluster = Cluster()
    first, second = work(cluster).join("first"), work(cluster).join("second")
    failure = FailsOnce("txn")
    setattr(cluster, point, failure)
    with pytest.raises(OutcomeUnknown):
        first.update(timeout=60)
    first.release()
    assert list(second.update()) == [0, 1, 2, 3]
    tokens = second.update(timeout=0)
    cluster.carry_out(Call(failure.command, str))
    assert second.update(timeout=0) == tokens
    second.release()
    assert list(cluster.keys()) == ["partition/work/count"]


def test_shards_that_were_given_back_unknowingly_are_taken_again() -> None:
    cluster = Cluster()
    with work(cluster).join("first") as first:
        assert len(first.update()) == 4
        with work(cluster).join("second") as second:
            assert len(first.update()) == 2
            cluster.after = FailsOnce("txn")
            with pytest.raises(OutcomeUnknown):
                first.update(timeout=60)
            assert len(second.update()) == 2
            assert len(first.update(timeout=0)) == 2
        assert len(first.update()) == 4


class Outage:
    """Raises an error once, for the request with this number."""

    def __init__(self, number: int, error: type[Exception]) -> None:
        self.left, self._error = number, error
        self.failed = ""

    def __call__(self, command: str) -> None:
        self.left -= 1
        if self.left == 0:
            self.failed = command
            raise self._error("no answer")


class Members:
    """The members of a partitioner, which try again after an outage, or leave."""

    def __init__(self, cluster: Cluster, tries: int) -> None:
        self._cluster = cluster
        self._tries = tries
        self._held: list[Any] = []

    def _do(self, act: Callable[[], Any]) -> Any:
        for left in reversed(range(self._tries)):
            try:
                return act()
            except (OutcomeUnknown, Unreachable):
                if not left:
                    raise
        return None

    def join(self, value: str) -> Any:
        held = self._do(lambda: work(self._cluster).join(value))
        self._held.append(held)
        return held

    def update(self, held: Any) -> Any:
        return self._do(lambda: held.update(timeout=0))

    def leave(self, held: Any) -> None:
        self._held.remove(held)
        with contextlib.suppress(OutcomeUnknown, Unreachable):
            held.release()
        keeps_on(self._cluster)

    def leave_all(self) -> None:
        while self._held:
            self.leave(self._held[0])


def _exchange_shards(shares: Members) -> None:
    """Make a second member come, and the first one leave."""
    first = shares.join("first")
    assert list(shares.update(first)) == [0, 1, 2, 3]
    second = shares.join("second")
    given = [shares.update(first) for _ in range(3)][-1]
    taken = shares.update(second)
    assert sorted([*given, *taken]) == [0, 1, 2, 3]
    shares.leave(first)
    assert list(shares.update(second)) == [0, 1, 2, 3]


@pytest.mark.pure  # a bound of a compiled module can't be replaced
@pytest.mark.parametrize("error", [Unreachable, OutcomeUnknown])
@pytest.mark.parametrize("point", ["before", "after"])
@pytest.mark.parametrize(
    ("together", "tries"), [(1, 1), in_the_rest(1, 2), in_the_rest(64, 1), in_the_rest(64, 2)]
)
def test_shards_change_hands_whichever_request_fails(
    error: type[Exception],
    point: str,
    together: int,
    tries: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No outage leaves a shard without a member or with two, or a member that has left."""
    monkeypatch.setattr(partition_steps, "_TOGETHER", together)
    number, outage = 0, Outage(0, error)
    while outage.left <= 0:
        number += 1
        cluster, outage = Cluster(), Outage(number, error)
        setattr(cluster, point, outage)
        shares = Members(cluster, tries)
        with contextlib.suppress(OutcomeUnknown, Unreachable):
            _exchange_shards(shares)
        shares.leave_all()
        setattr(cluster, point, lambda command: None)
        assert members(cluster) == [], number
        if outage.failed.startswith("show"):  # no change is in doubt
            assert [key for key in dict(cluster.keys()) if "/shards/" in key] == [], number
        with work(cluster).join("third") as third:  # what members left behind is free
            assert list(third.update(timeout=0)) == [0, 1, 2, 3]
        assert list(cluster.keys()) == ["partition/work/count"], number
    assert number > 10


def test_program_out_of_time_stays_in_a_round_just_begun() -> None:
    """A program whose time is over stays in a round that has just begun."""
    cluster, entered = Cluster(), []

    def enters(command: str) -> None:
        if command.startswith("delete barrier/step/line/"):
            entered.append(step(cluster).enter())

    cluster.before = enters
    held = step(cluster).enter(timeout=0.05)
    assert held is not None
    assert entered[0] is not None
    entered[0].release()
    assert held.leave()
    assert cluster.keys() == {}


def test_a_program_that_gives_up_leaves_nothing_in_line() -> None:
    cluster = Cluster()
    assert step(cluster).enter(timeout=0.05) is None
    assert step(cluster).enter(timeout=0) is None
    assert cluster.keys() == {}
    assert [command for command in cluster.asked if command.startswith("unhold")] == []


def test_leave_waits_until_its_request_was_sent_again() -> None:
    cluster = Cluster()
    cluster.was_served = True
    keys = BarrierKeys("one", 1)
    held = DoubleBarrier(cluster, cluster.keeper, cluster.watch, keys, 10).enter()
    assert held is not None
    cluster.before = FailsOnce("unhold", Unreachable)
    left: list[bool] = []
    waiter = threading.Thread(target=lambda: left.append(held.leave()))
    waiter.start()
    keeper: Any = cluster.keeper
    eventually(lambda: cluster.asked[-1].startswith("show") and keeper.hurried, "hurried", 10.0)
    assert left == []
    for command in keeper.hurried[0].unanswered():
        cluster.ask(Call(command, str))
    waiter.join(DEADLINE_S)
    assert left == [True]
    assert cluster.keys() == {}


@pytest.mark.parametrize("what", ["party", "partitioner", "barrier"])
def test_claim_begins_another_lease_if_its_kept_one_is_revoked(what: str) -> None:
    """A claim begins another lease if the kept one was revoked."""
    cluster, entered = Cluster(), list[Any]()
    held = party(cluster).join("first")
    cluster.carry_out(Call("release lease-1", str))
    if what == "barrier":
        keys = BarrierKeys("one", 1)
        entered.append(DoubleBarrier(cluster, cluster.keeper, cluster.watch, keys, 10).enter())
    else:
        make = party if what == "party" else work
        entered.append(make(cluster).join("second"))
    assert [each.check() for each in entered] == [each.token for each in entered]
    assert not held.is_held


def test_a_loss_of_the_kept_lease_is_told_to_each_member() -> None:
    cluster = Cluster()
    lost: list[str] = []

    def tells(name: str) -> Callable[[], object]:
        return lambda: lost.append(name)

    parts = cluster, cluster.keeper, cluster.watch
    web: Party[str] = Party(*parts, PartyKeys("web"), 10, tells("party"))
    shards: Partitioner[str] = Partitioner(*parts, PartitionKeys("work", 4), 10, tells("work"))
    first, second = web.join("a"), shards.join("a")
    third = DoubleBarrier(*parts, BarrierKeys("one", 1), 10, tells("step")).enter()
    keeper: Any = cluster.keeper
    (timer,) = keeper.timers
    timer.lose()
    assert third is not None
    assert all(held.wait_lost(DEADLINE_S) for held in (first, second, third))
    eventually(lambda: len(lost) == 3)
    assert sorted(lost) == ["party", "step", "work"]
