"""The stories of the lab: the world answers their questions, and what their steps say is true."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from raftline.picture.harness.lab.lab import Lab
from raftline.picture.harness.lab.page import Page
from raftline.picture.harness.lab.stories import BY_NAME, STORIES, Story
from raftline_testing.runner.at_night import in_the_rest


def role(lab: Lab, name: str) -> str:
    node = lab.cluster.hosts[name].node
    return node.view.role.value if node is not None else "down"


@pytest.fixture
def page() -> Page:
    return Page()


def ask(page: Page, **request: object) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(page.answer(json.dumps(request)))
    return answer


def reasons(page: Page, name: str, from_ms: int, until_ms: int) -> list[tuple[str, str]]:
    """Return each node's sentences between two moments of a story."""
    ask(page, do="open", address=f"story={name}")
    ask(page, do="run", until_ms=from_ms)
    events = ask(page, do="run", until_ms=until_ms)["events"]
    return [(event["node"], why[0]) for event in events for why in event.get("why", ())]


ANSWERS = {
    "election": "1",
    "split-vote": "2",
    "crash": "s2",
    "figure-7": "8",
    "figure-8": "3",
    "partition": "three",
    "lost-log": "no",
    "transfer": "2",
    "members": "3",
    "stale-read": "no value",
    "prevote": "1",
    "lease": "the value 5",
}

EACH = pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
SOME = pytest.mark.parametrize(
    "story", [*STORIES[:3], *map(in_the_rest, STORIES[3:])], ids=lambda story: story.name
)


@EACH
def test_world_answers_the_question_of_a_story(story: Story) -> None:
    lab = Lab(story.read_plan())
    assert story.answer(lab) == ANSWERS[story.name]
    assert (lab.broken, lab.refused) == ("", "")
    assert lab.facts()["acts_ahead"] == 0


def test_stale_read_would_have_been_possible() -> None:
    lab = Lab(BY_NAME["stale-read"].read_plan())
    lab.run_until(1650)
    assert role(lab, "s1") == "leader"
    assert role(lab, "s2") == "leader"
    held = [lab.cluster.hosts[name].manager.read(["get b"])[0] for name in ("s1", "s2")]
    assert held == ["GET response: 1", "GET response: 2"]


def test_split_vote_has_a_term_without_a_leader() -> None:
    lab = Lab(BY_NAME["split-vote"].read_plan())
    lab.run_until(1000)
    assert {term for _, term in lab.cluster.invariants.votes} >= {1}
    assert 1 not in lab.cluster.invariants.leaders


def test_acts_of_a_reader_make_a_run_of_his_own(page: Page) -> None:
    """The question of a story is judged by the run that is open."""
    assert ask(page, do="open", address="story=crash")["story"]["own"] is False
    assert ask(page, do="run", until_ms=300)["story"]["own"] is False
    assert ask(page, do="act", act="s1 hands over to s3")["story"]["own"] is True
    ask(page, do="run", until_ms=1800)
    assert ask(page, do="judge", choice="s3")["happened"]
    assert not ask(page, do="judge", choice="s2")["happened"]
    assert ask(page, do="look")["now_ms"] > 1700  # the open run stays where it was
    assert ask(page, do="open", address="story=crash")["story"]["own"] is False


def test_own_run_without_an_answer_is_told_so(page: Page) -> None:
    ask(page, do="open", address="story=election")
    ask(page, do="act", act="crash s3")
    assert "s3 is down at the end of your own run" in ask(page, do="judge", choice="1")["problem"]
    ask(page, do="open", address="story=crash")
    ask(page, do="act", act="cut s1 s2 s3 | s1 s2 s3")
    assert (
        "none of these is right in your own run at 1800 ms: nobody leads"
        in (ask(page, do="judge", choice="s1")["problem"])
    )


def test_new_member_is_a_learner_then_in_a_joint_majority(page: Page) -> None:
    told = reasons(page, "members", 300, 520)
    learner = "s4 is a learner from now on, with the entries and without a vote"
    assert {name for name, why in told if why.startswith(learner)} == {"s1", "s2", "s3", "s4"}
    joint = "the configuration is joint from now on: a majority of the old voters, s1 s2 s3, and"
    assert {name for name, why in told if why.startswith(joint)} == {"s1", "s2", "s3", "s4"}
    ends = "the joint configuration ends: a majority of s1 s2 s3 s4 is enough from now on"
    assert ("s1", ends) in told
    assert ("s1", "s4 holds what is committed, so it may become a voter") in told
    assert ("s4", "I hold what is committed, so I may become a voter") in told
    assert not [why for _, why in told if "again" in why or "lost" in why or "fence" in why]


def test_figure_8_lets_a_leader_refuse_to_count(page: Page) -> None:
    told = reasons(page, "figure-8", 200, 240)
    why = "s1 s3 s4, 3 of 5, hold entry 2, but it is of term 2: an entry of term 4 must commit it"
    assert ("s1", why) in told


def test_stale_read_is_a_moment_of_its_own(page: Page) -> None:
    """The read that is not answered is not a heartbeat."""
    ask(page, do="open", address="story=stale-read")
    ask(page, do="run", until_ms=1648)
    events = ask(page, do="run", until_ms=1655)["events"]
    (read,) = [event for event in events if event["k"] == "step" and event["in"] == "Read of 1"]
    assert read["pulse"] is False


def test_address_opens_a_story_at_its_step(page: Page) -> None:
    facts = ask(page, do="open", address="story=crash;at%2030")
    assert (facts["story"]["name"], facts["story"]["own"]) == ("crash", False)
    assert (facts["moment"][0], facts["acts_ahead"]) == (30, 2)
    assert ask(page, do="judge", choice="s2")["happened"]
    refused = ask(page, do="open", address="story=crash;at x")
    assert refused["problem"] == "not a line of a plan: at x"
    assert (refused["story"], refused["moment"]) == (facts["story"], facts["moment"])


def test_address_opens_a_readers_own_run_of_a_story(page: Page) -> None:
    ask(page, do="open", address="story=crash;at%2030")
    own = ask(page, do="act", act="crash s3")
    assert own["story"]["own"]
    ask(page, do="open", address="")
    again = ask(page, do="open", address=f"story=crash;{own['address']}")
    assert again["story"] == own["story"]
    assert (again["moment"], again["nodes"]) == (own["moment"], own["nodes"])


@SOME
def test_story_opens_just_before_its_first_act(page: Page, story: Story) -> None:
    """The plan's first act after the start is one of the first three stops of Next."""
    opened = ask(page, do="open", address=f"story={story.name}")
    later = [one for one in re.findall(r"^(\d+)ms ", story.plan, re.MULTILINE) if int(one)]
    assert opened["story"]["own"] is False
    assert len(opened["acts"]) == len(re.findall(r"^0ms ", story.plan, re.MULTILINE))
    stops = [ask(page, do="notable", until_ms=story.end_ms) for _ in range(3)]
    assert not later or any(stop["acts"] for stop in stops)
    assert ask(page, do="at", ms=0)["now_ms"] == 0  # and from the start


@SOME
def test_next_passes_messages_that_change_nothing(page: Page, story: Story) -> None:
    """Each stop has an act, or a step that changes a node."""
    ask(page, do="open", address=f"story={story.name}")
    ask(page, do="at", ms=0)
    passed = 0
    while (facts := ask(page, do="notable", until_ms=story.end_ms))["happened"]:
        steps = [one for one in facts["events"] if one["k"] == "step"]
        passed += sum(one["ignored"] for one in steps)
        assert facts["acts"] or not (steps[-1]["ignored"] or steps[-1]["pulse"])
    if story.name != "lost-log":
        assert passed >= 2  # the last answers to a candidate that already leads


def test_cells_of_a_change_say_what_differs(page: Page) -> None:
    ask(page, do="open", address="story=members")
    events = ask(page, do="run", until_ms=2000)["events"]
    told = [entry[2] for one in events if one["k"] == "step" for entry in one["append"]]
    assert list(dict.fromkeys(one for one in told if one != "noop")) == [
        "learner s4: voters s1 s2 s3, learners s4",
        "joint +s4: voters s1 s2 s3 | s1 s2 s3 s4 (a majority of eac…",
        "new: voters s1 s2 s3 s4",
    ]
