"""Actions strike at their trigger points, wait for a leader where they need it, end in time."""

from __future__ import annotations

from typing import Any, cast

import pytest

from raftline.trial.actions import Actions
from raftline.trial.metrics import Action, Metrics
from raftline.trial.network import Network
from raftline.trial.record import Record
from raftline.trial.servers import Servers
from raftline.trial.watch import Watch

SERVERS = ("0000", "0001", "0002", "0003", "0004")


class Stage:
    """Servers that only note what is done to them, and a leader that the test names."""

    def __init__(self, *actions: Action) -> None:
        self.done: list[Any] = []
        self.active = list(SERVERS)
        self.failed: list[str] = []
        self.leader = "0001"
        self.record = Record(Metrics(actions=actions), SERVERS)
        self.actions = Actions(
            self.record.metrics, cast(Servers, self), cast(Network, self), cast(Watch, self),
            self.record,
        )  # fmt: skip

    def gone(self, server: str, _: float) -> None:
        if server == self.leader:
            self.leader = "unkown"

    def fail(self, server: str) -> None:
        self.done.append(("fail", server))
        self.active.remove(server)
        self.failed.append(server)

    def launch(self, server: str) -> None:
        self.done.append(("launch", server))
        self.failed.remove(server)
        self.active.append(server)

    def pause(self, server: str) -> None:
        self.done.append(("pause", server))
        self.active.remove(server)

    def resume(self, server: str) -> bool:
        self.done.append(("resume", server))
        self.active.append(server)
        return True

    def part(self, side: frozenset[str]) -> None:
        self.done.append(("part", side))

    def heal(self) -> None:
        self.done.append("heal")

    def drop(self, fraction: float) -> None:
        self.done.append(("drop", fraction))


# seed 001-13
def test_the_leader_is_failed_at_the_trigger_point_and_not_before() -> None:
    stage = Stage(Action("fail leader", 8))
    stage.actions.strike(7.9)
    assert stage.done == []
    stage.actions.strike(8.0)
    stage.actions.strike(9.0)
    assert stage.done == [("fail", "0001")]
    assert (stage.record.failed, stage.actions.not_done()) == (1, [])


# seed 001-13
def test_a_follower_is_drawn_among_those_that_run_and_do_not_lead() -> None:
    found = set()
    for seed in range(40):
        stage = Stage(Action("fail follower", 8))
        stage.active.remove("0003")
        stage.actions._chance.seed(seed)
        stage.actions.strike(8.0)
        found.add(stage.done[0][1])
    assert found == {"0000", "0002", "0004"}


def test_an_action_without_a_leader_waits_for_one_and_so_do_those_behind_it() -> None:
    stage = Stage(Action("fail leader", 1), Action("fail leader", 2), Action("drop", 2))
    stage.actions.strike(2.5)
    assert stage.done == [("fail", "0001")]
    assert stage.actions.not_done() == ["fail leader at 2", "drop at 2"]
    stage.leader = "0004"
    stage.actions.strike(3.0)
    assert stage.done[1:] == [("fail", "0004"), ("drop", 0.1)]
    assert [event.at for event in stage.record.events] == [2.5, 3.0, 3.0]


@pytest.mark.parametrize(("category", "size"), [("part easy", 3), ("part hard", 2)])
def test_an_easy_partition_leaves_the_leader_a_quorum_and_a_hard_one_does_not(
    category: str, size: int
) -> None:
    stage = Stage(Action(category, 1), Action("part end", 3))
    stage.actions.strike(1.0)
    [(_, side)] = stage.done
    assert "0001" in side
    assert len(side) == size
    stage.actions.strike(3.0)
    assert stage.done[1:] == ["heal"]


def test_what_has_seconds_ends_by_itself() -> None:
    stage = Stage(
        Action("pause", 1, seconds=2.0, server="leader"), Action("drop", 1, seconds=1.0),
        Action("part hard", 4, seconds=1.0),
    )  # fmt: skip
    stage.actions.strike(1.0)
    stage.actions.strike(2.5)
    stage.actions.strike(3.5)
    assert stage.done == [("pause", "0001"), ("drop", 0.1), ("drop", 0.0), ("resume", "0001")]
    stage.actions.strike(4.0)
    stage.actions.strike(5.5)
    assert stage.done[-1] == "heal"


def test_a_restart_brings_back_who_was_failed_first_or_who_is_named() -> None:
    stage = Stage(Action("restart", 1), Action("restart", 1, server="0004"))
    stage.failed = ["0002", "0000", "0004"]
    stage.actions.strike(1.0)
    assert stage.done == [("launch", "0002"), ("launch", "0004")]
