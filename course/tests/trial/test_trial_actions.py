"""Actions run at their trigger points, wait for a leader where they need it, end in time."""

from __future__ import annotations

import itertools
from typing import Any, cast

import pytest

from raftline_course.trial.actions import Actions, LeaderTracker
from raftline_course.trial.metrics_dictionary import Action, Metrics
from raftline_course.trial.record import Record
from raftline_course.trial.servers import Servers
from raftline_testing.nodes.proxy import Network

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
            self.record.metrics,
            cast(Servers, self),
            cast(Network, self),
            cast(LeaderTracker, self),
            self.record,
        )

    def gone(self, server: str, _: float) -> None:
        self.done.append(("gone", server))
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


def test_leader_fails_at_the_trigger_point() -> None:
    """The leader is failed at the trigger point and not before."""
    stage = Stage(Action("fail leader", 8))
    stage.actions.run_due(7.9)
    assert stage.done == []
    stage.actions.run_due(8.0)
    stage.actions.run_due(9.0)
    # Noted before it is done: by the time that the process is gone, another may lead.
    assert stage.done == [("gone", "0001"), ("fail", "0001")]
    assert (stage.record.failed, stage.actions.not_done()) == (1, [])


def test_follower_is_drawn_among_running_non_leaders() -> None:
    """A follower is drawn among those that run and do not lead."""
    found = set()
    for seed in range(40):
        stage = Stage(Action("fail follower", 8))
        stage.active.remove("0003")
        stage.actions._chance.seed(seed)
        stage.actions.run_due(8.0)
        found.add(stage.done[-1][1])
    assert found == {"0000", "0002", "0004"}


def test_action_without_a_leader_delays_itself_and_later_ones() -> None:
    """An action without a leader waits for one and so do those after it."""
    stage = Stage(Action("fail leader", 1), Action("fail leader", 2), Action("drop", 2))
    stage.actions.run_due(2.5)
    assert stage.done[1:] == [("fail", "0001")]
    assert stage.actions.not_done() == ["fail leader at 2", "drop at 2"]
    stage.leader = "0004"
    stage.actions.run_due(3.0)
    assert stage.done[3:] == [("fail", "0004"), ("drop", 0.1)]
    assert [event.at for event in stage.record.events] == [2.5, 3.0, 3.0]


@pytest.mark.parametrize(("category", "size"), [("part easy", 3), ("part hard", 2)])
def test_easy_partition_keeps_a_quorum_and_a_hard_one_does_not(category: str, size: int) -> None:
    """An easy partition leaves the leader a quorum and a hard one does not."""
    stage = Stage(Action(category, 1), Action("part end", 3))
    stage.actions.run_due(1.0)
    [(_, side)] = stage.done
    assert "0001" in side
    assert len(side) == size
    stage.actions.run_due(3.0)
    assert stage.done[1:] == ["heal"]


@pytest.mark.parametrize("down", [("0000",), ("0003", "0004")])
def test_dead_servers_are_put_on_the_side_that_needs_no_quorum(down: tuple[str, ...]) -> None:
    for category, seed in itertools.product(("part easy", "part hard"), range(20)):
        stage = Stage(Action(category, 1))
        stage.active = [server for server in SERVERS if server not in down]
        stage.actions._chance.seed(seed)
        stage.actions.run_due(1.0)
        [(_, side)] = stage.done
        alive_with_leader = [server for server in side if server not in down]
        if category == "part easy":
            assert len(alive_with_leader) == 3
        else:  # three are left to the others, as far as three are there
            assert (len(side), len(alive_with_leader)) == (2, 1)


def test_an_end_action_ends_only_its_own_fault() -> None:
    stage = Stage(
        Action("drop", 1, seconds=3),
        Action("drop", 2, seconds=5, fraction=0.5),
        Action("part easy", 2, seconds=3),
        Action("part end", 3),
        Action("part hard", 4),
    )
    for now in (1.0, 2.0, 3.0, 4.0, 4.5, 5.5, 6.5):
        stage.actions.run_due(now)
    assert [each for each in stage.done if each[0] != "part"] == [
        ("drop", 0.1),
        ("drop", 0.5),
        "heal",
    ]
    stage.actions.run_due(7.0)
    assert stage.done[-1] == ("drop", 0.0)


def test_a_partition_that_was_ended_does_not_end_a_second_time() -> None:
    stage = Stage(Action("part easy", 1, seconds=3), Action("part end", 2))
    for now in (1.0, 2.0, 4.5):
        stage.actions.run_due(now)
    assert stage.done[1:] == ["heal"]
    assert [event.category for event in stage.record.events] == ["part easy", "part end"]


def test_an_action_with_seconds_ends_by_itself() -> None:
    stage = Stage(
        Action("pause", 1, seconds=2.0, server="leader"),
        Action("drop", 1, seconds=1.0),
        Action("part hard", 4, seconds=1.0),
    )
    stage.actions.run_due(1.0)
    stage.actions.run_due(2.5)
    stage.actions.run_due(3.5)
    assert stage.done == [("pause", "0001"), ("drop", 0.1), ("drop", 0.0), ("resume", "0001")]
    stage.actions.run_due(4.0)
    stage.actions.run_due(5.5)
    assert stage.done[-1] == "heal"


def test_a_restart_starts_the_named_server_or_the_first_failed() -> None:
    stage = Stage(Action("restart", 1), Action("restart", 1, server="0004"))
    stage.failed = ["0002", "0000", "0004"]
    stage.actions.run_due(1.0)
    assert stage.done == [("launch", "0002"), ("launch", "0004")]
