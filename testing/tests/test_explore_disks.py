"""Every order of small worlds in which disks are lost; and each rule that these worlds need."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from raftline.raft import election, newborn, node
from raftline.raft.change import PendingChange
from raftline.raft.messages import Denial, Message, RequestVote
from raftline.raft.progress import Progress, Sending
from raftline.raft.roles import Candidacy, ForwardedReads, Leading, PendingTransfer
from raftline.raft.state import State
from raftline_testing.explore import clocks, explored_server
from raftline_testing.explore.budget import DISKS, LARGE, read
from raftline_testing.explore.scenes import SCENES
from raftline_testing.explore.search import Found, search
from raftline_testing.explore.trace import format_trace, replay, way_to_violation
from raftline_testing.explore.world import World

# Two worlds are in the quick lane.
WORLDS = [
    pytest.param(text, marks=() if text.startswith("deaf") else pytest.mark.slow) for text in DISKS
]


def searched(text: str) -> Found:
    """Return what a search of a whole world finds."""
    return search(World(read(text), is_reduced=True))


@pytest.mark.parametrize("text", WORLDS)
def test_no_order_of_lost_disks_breaks_a_promise(text: str) -> None:
    world = World(read(text), is_reduced=True)
    found = search(world)
    if found.violation:
        pytest.fail(format_trace(world, *way_to_violation(world, "depth", 0, 60)))
    assert found.complete


def test_each_scene_is_explored() -> None:
    scenes = {text.partition(":")[0] for text in (*DISKS, *LARGE)}
    assert scenes == {*SCENES}


def test_without_patience_no_second_cluster_begins() -> None:
    """With patience there may be one, once the disks of a majority of those that knew are lost."""
    assert not searched("deaf: wipe timeout=2").second
    assert {*searched("deaf: wipe patience=2").second} == {"the files of 1 of 3 servers were lost"}


def test_only_a_word_begins_a_cluster_without_a_member() -> None:
    """The servers s1 and s2 of a scene began without s3, which never ran."""
    world = World(read("late: wipe"))
    assert world.history(world.begin).ran == ("s1", "s2")
    assert len(world.history(world.begin).clusters) == 1


@pytest.mark.slow
def test_older_files_are_found_by_their_leader_alone() -> None:
    """No other server can know that a copy lacks what it acknowledged (docs/repair.md)."""
    assert not searched("behind: old heartbeat").violation
    assert " leads term 2 without " in searched("behind: old timeout heartbeat").violation


@pytest.mark.slow
def test_a_false_word_may_mix_the_logs_of_two_clusters() -> None:
    """A server with an uncommitted identity takes the entries of another cluster after it."""
    assert ", and no leader of that cluster " in searched("deaf: wipe lie timeout=2").violation


# --- each rule, taken away ------------------------------------------------------------------


Denied = tuple[Denial, str]


def gives_votes_without_a_memory(
    why_not: Callable[[State, RequestVote], Denied | None],
) -> Callable[[State, RequestVote], Denied | None]:
    """Return a rule by which a server that lost its memory votes like any other."""

    def answers(state: State, message: RequestVote) -> Denied | None:
        recovering, state.recovering = state.recovering, False
        try:
            return why_not(state, message)
        finally:
            state.recovering = recovering

    return answers


def assign_no_fence(state: State) -> bool:
    """Make servers that lost their memory vote again at once."""
    for progress in state.as_leader.progress.values():
        if not progress.is_counted and progress.readmit_index is None:
            progress.readmit_index = 0
    return False


def is_new_if_alone(state: State) -> bool:
    """Take a server that its file names alone for new."""
    return IS_NEW(state) or len(state.membership.electors) == 1


IS_NEW = newborn.is_new


@pytest.mark.pure
@pytest.mark.parametrize(
    ("module", "rule", "fault", "text", "finds"),
    [
        pytest.param(
            node,
            "is_news",
            lambda state, message: False,
            "grown from three: patience=2",
            " was told of entries",
            id="a_stranger_is_not_believed",
        ),
        pytest.param(
            newborn,
            "awaited",
            lambda state: [],
            "deaf: wipe timeout=2",
            " lead term 1",
            id="silence_is_a_proof",
        ),
        pytest.param(
            newborn,
            "_tells_of_history",
            lambda message: False,
            "behind: wipe patience timeout",
            " leads term 2 without ",
            id="entries_are_no_proof",
        ),
        pytest.param(
            newborn,
            "may_have_voted",
            lambda state, message: False,
            "standing: timeout",
            " lead term 1",
            id="a_forgotten_vote_is_given_again",
        ),
        pytest.param(
            election,
            "why_not",
            gives_votes_without_a_memory(election.why_not),
            "behind: wipe timeout",
            " leads term 2 without ",
            id="a_vote_without_a_memory",
        ),
        pytest.param(
            node,
            "assign_fences",
            assign_no_fence,
            "emptied: timeout=2",
            " leads term 2 without ",
            id="no_fence",
        ),
    ],
)
def test_a_rule_that_is_missing_is_found(
    monkeypatch: pytest.MonkeyPatch, module: Any, rule: str, fault: Any, text: str, finds: str
) -> None:
    monkeypatch.setattr(module, rule, fault)
    assert finds in searched(text).violation


@pytest.mark.pure
def test_a_lone_server_that_begins_at_once_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (newborn, explored_server):
        monkeypatch.setattr(module, "is_new", is_new_if_alone)
    assert " of a second cluster, " in searched("grown from one: wipe timeout").violation


@pytest.mark.slow
def test_a_message_that_outlives_its_receiver_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A newborn takes the messages that it hears for those of members that live now."""
    fallen = World._fallen
    monkeypatch.setattr(
        World,
        "_fallen",
        lambda self, local, kind: fallen(self, local, kind)._replace(inbox=local.inbox),
    )
    found = search(World(read("standing: wipe timeout"), is_reduced=True), order="random")
    assert " lead term 1" in found.violation


@pytest.mark.pure
def test_a_trace_of_a_lost_disk_can_be_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(newborn, "_tells_of_history", believes_nothing)
        world = World(read("behind: wipe patience timeout"))
        trace = format_trace(world, *way_to_violation(world, "depth", 0, 60))
        assert " s1 loses all files\n" in trace
        assert replay(trace)[0] == trace
    assert not replay(trace)[1]


def believes_nothing(message: Message) -> bool:
    """Take no message for a proof."""
    return False


def test_each_time_of_the_core_has_its_place_in_a_state() -> None:
    """Two states that differ in a time alone would be two."""
    kinds = (State, Leading, Candidacy, Progress, Sending, PendingChange)
    known = {*clocks.TIMES, *clocks.HEARD, *clocks.NOT_IN_USE, "now_ms", "looks_until_ms"}
    for kind in (*kinds, PendingTransfer, ForwardedReads):
        names = [field.name for field in dataclasses.fields(kind) if field.name.endswith("_ms")]
        assert {*names} - {"pick_timeout_ms"} <= known
