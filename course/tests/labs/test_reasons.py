"""The pictures of faulty cores: what fails is named in red, and no sentence justifies it."""

from __future__ import annotations

import re

import pytest

from labs.solutions.reasons import failed_step, justifies, with_bug
from raftline.picture.harness.judging.collected import Collector
from raftline.picture.harness.saved_page import held
from raftline.picture.harness.transcript_page import collected
from raftline.raft.log import SafetyError
from raftline.raft.state import State
from raftline_testing.invariants import InvariantError
from raftline_testing.runner.at_night import at_night
from raftline_testing.virtual.failing import draw_failure
from raftline_testing.virtual.schedule import SimulationFailed, run

pytestmark = pytest.mark.pure  # the faulty cores are sources

NAMED: dict[int, str] = {
    1: "leads term 1 by the votes of s1 s2, 2 of 4: no majority (§5.2)",
    2: "votes for s1 in term 1 and keeps no such vote",
    3: "does not answer, so its leader never learns that its log ends at 9 (§5.3)",
    4: "drops entry 2, which nothing in this message contradicts (§5.3, Figure 2)",
    5: "commits entry 1, held by s1 alone of 3: no majority (§5.3)",
    6: "commits entry 2 of term 2 by counting, leading term 4",
    7: "votes for s1, whose log ends at 3 of term 1",
    8: "obeys s1, the leader of term 1, in term 2 (§5.1)",
    9: "counts s2 for entries up to 2: its answer names entry 1 (§5.3, Figure 2)",
    10: "on disk before anybody hears of it",
    11: "goes back: applied was 1, and is 0 (Figure 2)",
    12: "a request is executed once",
    13: "s1 ends with KeyError: 'b'",
    14: "what was acknowledged stays on the disk",
    15: "counts s2's vote of term 1 in its election of term 2 (§5.2)",
    16: "accepts entries after entry 2 of term 2: its own entry 2 is of term 1",
    17: "still leads, though of 3 only s1 answered",
    18: "takes its vote for s1 of term 1 into term 2 (§5.2, Figure 2)",
    19: "serves a read at once: no lease holds",
    20: "starts with entries up to 2 committed, and no leader said so",
    21: "Log Matching",
    22: "votes for s3, though it lost its log",
    23: "does not commit entry 1 of its term 1, though s1 s2 hold it",
    24: "treats entry 2 as committed: this message shows equal logs up to 1",
}


@pytest.mark.needs("processes")
@pytest.mark.parametrize("number", [6, *at_night(*(one for one in NAMED if one != 6))])
def test_picture_of_a_bug_names_the_broken_rule_only(number: int) -> None:
    """The picture of a bug names the broken rule and justifies nothing."""
    found = with_bug(number)
    assert found is not None
    assert any(NAMED[number] in text for text in found.broken), found
    assert found.names_rule or number == 13
    assert justifies(found) == []


def test_page_of_a_failed_run_opens_at_the_broken_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of a failed run opens at the step with the rule in words."""

    def counts_itself_alone(state: State) -> None:
        if state.log.last_term == state.term:
            state.advance_commit_index(state.log.last_index)

    monkeypatch.setattr("raftline.raft.node.advance_commit", counts_itself_alone)
    collector = Collector(one_clock=True)
    with pytest.raises(SimulationFailed):
        run(7, nodes=3, steps=2000, collector=collector)
    data = held(collector.page("seed 7"))
    failure = data["failure"]
    (step,) = (one for one in data["events"] if one["id"] == failure["step"])
    assert re.search(
        r"a majority's disks, and an entry of the leader's term \(§5.3, §5.4.2\): s\d commits",
        failure["words"],
    )
    assert step["k"] == "step"
    assert failure["words"].partition(": ")[2].startswith(step["node"])
    assert step["why"][0] == [failure["words"], "", "", True]
    assert any("of 3: no majority" in reason[0] for reason in step["why"] if reason[3])
    assert not any("so it is committed" in reason[0] for reason in step["why"])
    assert "broken" in step["tags"]


def test_messages_under_way_at_the_end_are_not_drawn_lost() -> None:
    """When a run ends, what is still under way is not drawn as lost."""
    script = "> start s1 s2 s3\n> cut s3\n> wait 150ms\n"
    collector, problem = collected(script)
    assert problem == ""
    data = held(collector.page("under way"))
    sent = {one["id"]: one for one in data["events"] if one["k"] == "message"}
    lost = [sent[one["id"]]["to"] for one in data["events"] if one["k"] == "lost"]
    assert lost == ["s3"]
    assert [one["to"] for one in sent.values() if one["arrived"] is None] == ["s2", "s3"]
    collector, problem = collected(script + "> drop s1 -> s2\n")
    events = held(collector.page("dropped"))["events"]
    assert sum(one["k"] == "lost" for one in events) == 2


def test_a_step_that_does_not_end_is_drawn_as_one_that_fails() -> None:
    collector, _ = collected("> start s1 s2 s3\n> wait 150ms\n")
    draw_failure(collector, SafetyError("cut after 2, but 4 is committed"), "s1")
    failed = failed_step(collector)
    assert failed is not None
    name, seen = failed
    assert (name, seen["in"]) == ("s1", "fails")
    [(why, *others)] = seen["why"]
    assert why.endswith("cut after 2, but 4 is committed")
    assert others == ["", "", True]


def test_broken_section_is_not_cited_as_a_reason() -> None:
    """A reason is left out if it cites the section that the step breaks."""
    collector, _ = collected("> start s1 s2 s3\n> settle 200ms\n")
    node, seen = next(
        (node, one)
        for node, one in collector.steps
        if any("so it is committed" in why[0] for why in one["why"])
    )
    assert node == "s1"
    alone = Collector(one_clock=True)
    alone._events = [(0.0, node, dict(seen))]
    draw_failure(alone, InvariantError("s1 commits entry 1, on the disks of ['s1'] only"), "s1")
    failed = failed_step(alone)
    assert failed is not None
    texts = [why[0] for why in failed[1]["why"]]
    assert not any("so it is committed" in text for text in texts)
    assert texts[0].startswith("a majority's disks, and an entry of the leader's term")


def test_each_node_is_drawn_also_while_somebody_observes_it() -> None:
    """An observer of a schedule took the place of the picture, which lacked steps from then on."""
    collector = Collector(one_clock=True)
    run(6, steps=1500, collector=collector)
    ends: dict[str, list[int]] = {}
    for name, one in collector.steps:
        ends.setdefault(name, []).append(one["commit"])
    assert len({commits[-1] for commits in ends.values()}) <= 2  # all end as one cluster
    assert not [one for _, one in collector.steps if any(why[3] for why in one["why"])]
