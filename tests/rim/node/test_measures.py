from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from raftline.net.protocol.host import Batch
from raftline.node.loop.measures import BOUNDS_S, Histogram, Measures
from raftline.node.loop.queue import RequestQueue
from raftline.raft.effects import Effects
from raftline.raft.messages import RequestVote
from raftline.raft.roles import Role


def view(role: Role, term: int, leader: str | None) -> Any:
    return SimpleNamespace(role=role, term=term, leader=leader)


@pytest.mark.pure
def test_elections_leaderships_and_leaders_are_counted_once_each() -> None:
    seen = Measures()
    for step in (
        view(Role.FOLLOWER, 1, "s2"),
        view(Role.FOLLOWER, 1, "s2"),
        view(Role.PRE_CANDIDATE, 1, None),
        view(Role.CANDIDATE, 2, None),
        view(Role.CANDIDATE, 2, None),
        view(Role.CANDIDATE, 3, None),
        view(Role.LEADER, 3, "s1"),
        view(Role.LEADER, 3, "s1"),
        view(Role.FOLLOWER, 4, "s2"),
    ):
        seen.stepped(step, Effects())
    assert (seen.elections, seen.leaderships, seen.leader_changes) == (2, 1, 3)


@pytest.mark.pure
def test_a_leader_that_never_was_seen_as_a_candidate_stood_too() -> None:
    alone = Measures()
    alone.stepped(view(Role.LEADER, 1, "s1"), Effects())
    assert (alone.elections, alone.leaderships) == (1, 1)


@pytest.mark.pure
def test_requested_change_of_leader_is_counted_apart() -> None:
    """A leadership that the previous leader transferred has its own counter."""
    seen = Measures()
    for is_asked, term in ((True, 2), (False, 4), (True, 6)):
        asks = RequestVote("s1", "s2", term, 1, 1, False, is_asked)
        seen.stepped(view(Role.CANDIDATE, term, None), Effects(send_after_save=[asks]))
        seen.stepped(view(Role.LEADER, term, "s1"), Effects())
    asks = RequestVote("s1", "s2", 8, 1, 1, False, True)
    seen.stepped(view(Role.CANDIDATE, 8, None), Effects(send_after_save=[asks]))
    seen.stepped(view(Role.CANDIDATE, 9, None), Effects())  # nobody took over; a later one did
    seen.stepped(view(Role.LEADER, 9, "s1"), Effects())
    assert (seen.leaderships, seen.takeovers) == (4, 2)


def counted(times: Histogram) -> int:
    return sum(times.counts)


def test_each_request_of_a_batch_counts_once_it_is_applied() -> None:
    measures = Measures()
    queue = RequestQueue(hold_ms=1000, measures=measures)
    batch = Batch(["set a 1", "set b 2", "set c 3"], is_read=False)
    queue.enter([batch], 5, 1)
    queue.answer_applied(["x", "x"], 5, 6)
    assert counted(measures.writes) == 0
    queue.answer_applied(["x"], 7, 7)
    assert counted(measures.writes) == 3


def test_reads_count_once_they_are_confirmed() -> None:
    measures = Measures()
    queue = RequestQueue(hold_ms=1000, measures=measures)
    batch = Batch(["get a", "get b"], is_read=True)
    queue.confirmed([batch])
    assert batch.wait(0)
    assert counted(measures.reads) == 2


def test_a_write_of_the_disk_is_under_way_until_it_ends() -> None:
    measures = Measures()
    measures.disk_begins()
    assert measures.disk_since_s > 0
    measures.disk_since_s -= 2
    assert measures.disk_waits_ms >= 2000
    measures.disk_ends()
    assert measures.disk_since_s == 0
    assert measures.disk_waits_ms == 0
    assert counted(measures.disk) == 1
    assert len(measures.disk.counts) == len(BOUNDS_S) + 1


def test_waiting_requests_are_counted_by_their_reason() -> None:
    queue = RequestQueue(hold_ms=1000)
    queue.put(Batch(["set a 1"], is_read=False))
    queue.put(Batch(["get a"], is_read=True))
    queue.enter([Batch(["set b 1"], is_read=False)], 1, 1)
    queue.hold([Batch(["set c 1"], is_read=False)], now=1)
    assert queue.waiting() == {"writes": 1, "reads": 1, "others": 0, "leader": 1, "commit": 1}
