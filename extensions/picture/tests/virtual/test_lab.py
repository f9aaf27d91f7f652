"""The cluster of docs/learn/lab.html: each act does what it says, and going back is a replay."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from raftline.picture.harness.lab.acts import ActRefused
from raftline.picture.harness.lab.lab import Lab
from raftline.picture.harness.lab.page import Page
from raftline.picture.harness.lab.plan import Plan, PlanError, plan_in, read_plan
from raftline.picture.harness.lab.stories import STORIES

FAST_S1 = Plan(before=("timeouts s1 150 s2 400 s3 500",))


@pytest.fixture
def led() -> Lab:
    """Return three nodes, led by s1."""
    lab = Lab(FAST_S1)
    lab.run_until(300)
    assert role(lab, "s1") == "leader"
    lab.facts()
    return lab


def role(lab: Lab, name: str) -> str:
    node = lab.cluster.hosts[name].node
    return node.view.role.value if node is not None else "down"


def passes(lab: Lab, span_ms: int) -> dict[str, Any]:
    """Pass time; return the facts."""
    lab.run_until(lab.cluster.world.now_ms + span_ms)
    return lab.facts()


def commits(lab: Lab) -> dict[str, int]:
    return {
        name: host.node.view.commit_index
        for name, host in lab.cluster.hosts.items()
        if host.node is not None
    }


def flight(lab: Lab, sender: str, to: str) -> int:
    """Return the number of the first message in flight between these two."""
    flights = lab.facts()["flights"]
    return int(next(one["number"] for one in flights if (one["from"], one["to"]) == (sender, to)))


def test_same_plan_gives_same_events() -> None:
    plan = read_plan("seed 7\nnodes s1 s2 s3\n60 crash s1\n150 restart s1\n200 cut s2")
    runs = [Lab(plan), Lab(plan)]
    for run in runs:
        run.run_until(2000)
    assert runs[0].moment == runs[1].moment
    assert runs[0].facts() == runs[1].facts()
    other = Lab(read_plan(plan.text().replace("seed 7", "seed 8")))
    other.run_until(2000)
    assert other.moment != runs[0].moment


def test_back_and_forth_is_the_same_run() -> None:
    lab = Lab(Plan(seed=3))
    for _ in range(40):
        assert lab.step()
    lab.act("crash s2")
    passes(lab, 500)
    there, before = lab.moment, lab.cluster.hosts["s1"].disk.folder.contents()
    for _ in range(30):
        assert lab.back()
    assert lab.moment < there
    assert lab.facts()["anew"]
    lab.go_to(there)
    assert lab.moment == there
    assert lab.cluster.hosts["s1"].disk.folder.contents() == before
    assert role(lab, "s2") == "down"


def test_back_undoes_an_act_and_another_takes_its_place(led: Lab) -> None:
    led.act("crash s1")
    assert role(led, "s1") == "down"
    assert led.back()
    assert role(led, "s1") == "leader"
    assert led.facts()["acts_ahead"] == 1
    led.act("crash s2")
    assert [act.text for act in led.plan.acts] == ["crash s2"]


def test_address_holds_a_moment_between_two_acts() -> None:
    page, text = Page(), "60%20crash%20s1;60%20crash%20s2;at%2060"

    def ask(**request: object) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(page.answer(json.dumps(request)))
        return answer

    assert ask(do="open", address=text)["moment"] == [60, 2]
    for moment in ([60, 1], [60, 0]):
        before = ask(do="back")
        assert before["moment"] == moment
        again = ask(do="open", address=before["address"])
        assert (again["moment"], again["nodes"]) == (moment, before["nodes"])
        assert again["address"] == before["address"]
    for _ in range(2):
        ask(do="step")
    assert ask(do="look")["moment"] == [60, 2]


def test_address_holds_the_run(led: Lab) -> None:
    led.act("s1 <- client4@set b 5; 100 %")
    passes(led, 100)
    facts = led.facts()
    assert " " not in facts["address"]
    plan = plan_in(facts["address"])
    other = Lab(plan)
    other.go_to_events(plan.at)
    assert other.moment == led.moment
    assert other.facts()["nodes"] == facts["nodes"]
    assert "set b 5; 100 %" in facts["nodes"]["s2"]["files"]["s2.log"]


@pytest.mark.parametrize(
    "text",
    ["seed x", "nodes", "nodes s1 s1", "nodes n1", "nonsense", "5ms crash s1\n4ms crash s2",
     "5 crash s1\n4 crash s2", "at 1e9", "at 99999999", "seed 1\n" * 3000],
)  # fmt: skip
def test_bad_plan_is_refused(text: str) -> None:
    with pytest.raises(PlanError):
        read_plan(text)


def test_act_may_be_due_at_a_time() -> None:
    plan = read_plan("before timeouts s1 150 s2 400 s3 500\n400ms crash s1\n450ms restart s1")
    lab = Lab(plan_in(plan.address()))
    lab.run_until(399)
    assert role(lab, "s1") == "leader"
    lab.run_until(420)
    assert role(lab, "s1") == "down"
    lab.run_until(500)
    assert role(lab, "s1") == "follower"


def test_setting_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ActRefused, match="before the start there is no 'crash s1'"):
        Lab(Plan(before=("crash s1",)))
    with pytest.raises(ActRefused, match="does not work before the start"):
        Lab(Plan(before=("entry s1 5 1 set a 1",)))


@pytest.mark.parametrize(
    ("act", "why"),
    [
        ("dance s1", "there is no act"),
        ("crash s9", "there is no node s9"),
        ("cut s1 s2 | s4", "there is no node s4"),
        ("resume s1", "s1 is not paused"),
        ("deliver 4711", "message 4711 is not in flight"),
        ('edit s1 "x"', "s1 runs"),
        ("join s3", "s3 is there already"),
        ("s1 <- c@set a " + "x" * 3000, "too long"),
    ],
)
def test_act_that_can_not_be_done_is_refused_in_a_sentence(led: Lab, act: str, why: str) -> None:
    before = led.moment
    with pytest.raises(ActRefused, match=why):
        led.act(act)
    assert led.moment == before
    assert led.plan.acts == []


def test_write_typed_at_the_leader_is_answered(led: Lab) -> None:
    led.act("s1 <- client4@set b 5")
    facts = passes(led, 100)
    assert facts["answers"] == ["client4 <- s1@SET response: b set to 5"]
    [reply] = facts["replies"]
    assert reply["text"] == facts["answers"][0]
    assert 0.3 < reply["at"] < 0.4
    led.act("s2 <- client4@get b")
    assert "not the leader" in passes(led, 100)["answers"][0]
    led.act("s1 <- client4@show")
    assert passes(led, 100)["answers"] == ['client4 <- s1@SHOW response: {"b": "5"}']


def test_line_of_a_server_may_be_typed(led: Lab) -> None:
    led.act("s2 <- s3@RequestVote 9-0-0")
    passes(led, 1)
    led.act("s2 <- s3@GiveMeAll")
    assert "Sorry" in passes(led, 1)["answers"][0]


def test_crash_and_restart(led: Lab) -> None:
    led.act("crash s1")
    assert not led.facts()["nodes"]["s1"]["up"]
    passes(led, 1500)
    assert "leader" in (role(led, "s2"), role(led, "s3"))
    led.act("restart s1")
    passes(led, 300)
    assert role(led, "s1") == "follower"


def test_power_cut_keeps_what_was_synced(led: Lab) -> None:
    led.act("power s2")
    assert "1 1 noop" in led.facts()["nodes"]["s2"]["files"]["s2.log"]


def test_lost_log_costs_the_vote(led: Lab) -> None:
    led.act("cut s2")
    led.act("lose log s2")
    facts = led.facts()
    assert "1 1 noop" not in facts["nodes"]["s2"]["files"]["s2.log"]
    assert led.cluster.hosts["s2"].node is not None
    assert led.cluster.hosts["s2"].node.view.recovering


def test_paused_leader_loses_its_office(led: Lab) -> None:
    led.act("pause s1")
    assert passes(led, 1500)["nodes"]["s1"]["paused"]
    assert "leader" in (role(led, "s2"), role(led, "s3"))
    led.act("resume s1")
    passes(led, 100)
    assert role(led, "s1") == "follower"


def test_slow_and_held_disks_delay_the_commit(led: Lab) -> None:
    for name in ("s2", "s3"):
        led.act(f"slow disk {name} 40")
    led.act("s1 <- c@set a 1")
    assert passes(led, 40)["answers"] == []
    assert passes(led, 100)["answers"] == ["c <- s1@SET response: a set to 1"]
    for name in ("s2", "s3"):
        led.act(f"slow disk {name} 0")
        led.act(f"hold disk {name}")
    led.act("s1 <- c@set a 2")
    facts = passes(led, 120)
    assert facts["answers"] == []
    assert facts["nodes"]["s2"]["disk"] == "held"
    led.act("release disk s2")
    assert passes(led, 60)["answers"] == ["c <- s1@SET response: a set to 2"]


def test_cut_one_way_and_both_and_mend(led: Lab) -> None:
    led.act("cut s1 -> s2")
    assert led.facts()["cuts"] == [["s1", "s2"]]
    led.act("cut s1 | s3")
    assert led.facts()["cuts"] == [["s1", "s2"], ["s1", "s3"], ["s3", "s1"]]
    led.act("mend s1 s3")
    assert led.facts()["cuts"] == [["s1", "s2"]]
    led.act("heal")
    assert led.facts()["cuts"] == []
    led.act("cut s1")
    passes(led, 1500)
    assert "leader" in (role(led, "s2"), role(led, "s3"))


def test_messages_in_flight_are_delivered_dropped_or_doubled(led: Lab) -> None:
    """Messages in flight are delivered, dropped, doubled and held."""
    led.act("s1 <- c@set a 1")
    before = len(led.facts()["flights"])
    number = flight(led, "s1", "s2")
    led.act(f"double {number}")
    assert len(led.facts()["flights"]) == before + 1
    led.act(f"hold {number}")
    passes(led, 40)
    assert any(one["number"] == number and one["held"] for one in led.facts()["flights"])
    led.act(f"deliver {number}")
    assert all(one["number"] != number for one in led.facts()["flights"])
    led.act("s1 <- c@set a 2")
    led.act(f"drop {flight(led, 's1', 's2')}")
    (event,) = led.facts()["events"]
    assert (event["k"], event["where"]) == ("lost", "way")
    assert event["at"] >= led.facts()["now_ms"] / 1000  # each step is drawn at its own time


def edited(lab: Lab, text: str) -> dict[str, Any]:
    """Make s3 start with this log; return the facts."""
    lab.act(f"edit s3 {json.dumps(text)}")
    lab.act("restart s3")
    return lab.facts()


def test_edited_log_starts_with_a_new_checksum(led: Lab) -> None:
    """The lab writes the checksum of an edited log, and marks the run."""
    led.act("s1 <- c@set a 1")
    passes(led, 100)
    led.act("cut s3")
    led.act("crash s3")
    text = led.facts()["nodes"]["s3"]["files"]["s3.log"]
    assert not led.facts()["forged"]
    later = text.replace("2 1 set a 1", "2 1 set a 1\n3 7 set z 9")
    led.act(f"edit s3 {json.dumps(later)}")
    assert "s3.log is edited, with a new checksum" in led.facts()["answers"][0]
    facts = edited(led, later)
    assert (facts["nodes"]["s3"]["up"], facts["forged"]) == (True, True)
    assert facts["nodes"]["s3"]["files"]["s3.log"].splitlines()[3] == "3 7 set z 9"
    view = led.cluster.hosts["s3"].node.view  # type: ignore[union-attr]
    assert (view.recovering, view.term, view.log.last_index, view.log.last_term) == (False, 7, 3, 7)
    led.act("heal")
    assert passes(led, 3000)["broken"] == ""
    assert len(set(commits(led).values())) == 1


def test_edited_log_that_is_shorter_has_lost_entries(led: Lab) -> None:
    led.act("s1 <- c@set a 1")
    passes(led, 100)
    led.act("crash s3")
    facts = edited(led, "1 1 noop\n")  # without its base line
    assert any("rejoins without a vote" in answer for answer in facts["answers"])
    assert facts["nodes"]["s3"]["files"]["s3.log"].startswith("0 0 base s1=s1:1 ")


def test_damaged_log_keeps_its_checksums(led: Lab) -> None:
    """A batch without its note was never acknowledged; one with a wrong note is damaged."""
    led.act("crash s3")
    text = led.facts()["nodes"]["s3"]["files"]["s3.log"]
    led.act(f"damage s3 {json.dumps(text + '2 1 set a')}")
    led.act("restart s3")
    assert any("(torn write)" in one for one in led.facts()["answers"])
    led.act("crash s3")
    led.act(f"damage s3 {json.dumps(text.replace('noop', 'noon'))}")
    led.act("restart s3")
    assert any("s3 does not start: s3.log, line 3" in one for one in led.facts()["answers"])


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ("7 1 set a 1\n", "s3.log, line 3 (byte 42): entry 7 where entry 2 should be"),
        ("what is this\n", "s3.log, line 3 (byte 42): not `index term command`"),
        ("2 1 set a \ud800\n", "s3.log, line 3 (byte 42): bytes that are not UTF-8"),
        ("2 1 level 4\n", "s3.log is of another build of raftline"),
    ],
)
def test_refused_log_names_what_the_lab_has(led: Lab, broken: str, why: str) -> None:
    """The commands of `raftline`, which a node's refusal names, are not in a browser."""
    led.act("crash s3")
    text = led.facts()["nodes"]["s3"]["files"]["s3.log"]
    facts = edited(led, text + broken)
    assert not facts["nodes"]["s3"]["up"]
    (told,) = [one for one in facts["answers"] if "does not start" in one]
    assert told.startswith(f"s3 does not start: {why}")
    assert told.endswith(". Edit its log again, or lose it: both are on the card of s3")
    assert not re.search("raftline (fsck|recover)|newer version", told)
    assert edited(led, text)["nodes"]["s3"]["up"]


def test_edited_log_is_a_text(led: Lab) -> None:
    led.act("crash s3")
    with pytest.raises(ActRefused, match="there is no act"):
        led.act("edit s3 text")


def test_transfer_snapshot_and_a_new_member(led: Lab) -> None:
    led.act("s1 hands over to s3")
    passes(led, 200)
    assert role(led, "s3") == "leader"
    led.act("snapshot s3")
    assert "s3.state_machine" in passes(led, 50)["nodes"]["s3"]["files"]
    led.act("join s4")
    led.act("s3 <- admin@add s4")
    facts = passes(led, 1500)
    assert any("s4 added" in answer for answer in facts["answers"])
    assert commits(led)["s4"] == commits(led)["s3"]


def test_broken_rule_ends_the_run_and_back_helps(led: Lab) -> None:
    # By hand, a committed entry is replaced on two disks of three.
    led.act("s1 <- c@set a 1")
    passes(led, 100)
    led.cluster.invariants.committed[1] = (1, "set a 2")
    led.act("s1 <- c@set b 1")
    led.cluster.invariants.committed[1:] = [(1, "set a 2"), (1, "set b 2")]
    facts = passes(led, 100)
    assert "State Machine Safety" in facts["broken"]
    assert any("broken" in event.get("tags", ()) for event in facts["events"])
    assert not led.step()
    with pytest.raises(ActRefused, match="go back first"):
        led.act("crash s1")
    assert led.back()
    assert not led.broken


def test_step_until_something_happens_skips_heartbeats(led: Lab) -> None:
    passes(led, 100)
    led.facts()
    assert led.step()
    assert all(event["pulse"] for event in led.facts()["events"] if event["k"] == "step")
    led.act("crash s1")
    led.facts()
    assert led.step(until_notable=True)
    steps = [event for event in led.facts()["events"] if event["k"] == "step"]
    assert not steps[-1]["pulse"]


def test_page_answers_requests_and_refuses_in_sentences() -> None:
    page = Page()

    def ask(**request: object) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(page.answer(json.dumps(request)))
        return answer

    assert len(ask(do="list")["stories"]) == len(STORIES)
    assert ask(do="open", address="story=crash")["story"]["title"] == "The leader crashes"
    assert ask(do="judge", choice="s2")["happened"]
    assert not ask(do="judge", choice="s1")["happened"]
    assert ask(do="run", until_ms=500)["now_ms"] <= 500
    assert ask(do="act", act="dance")["problem"] == "there is no act 'dance'"
    assert ask(do="back")["happened"]
    assert "no story 'x'" in ask(do="open", address="story=x")["problem"]
    assert "not a line of a plan" in ask(do="open", address="x")["problem"]
    ask(do="open", address="")
    assert ask(do="judge", choice="1")["problem"] == "no story is open"


def test_read_must_see_what_was_acknowledged(led: Lab) -> None:
    led.act("s1 <- c@set a 1")
    passes(led, 100)
    invariants = led.cluster.invariants
    assert invariants.acknowledged_index == 2
    invariants.acknowledged_index = 3  # as if another leader had acknowledged an entry
    led.act("s1 <- d@get a")
    assert (
        "serves a read from entry 2, though entry 3 was acknowledged" in passes(led, 100)["broken"]
    )


def test_majority_that_elects_nobody_breaks_a_rule() -> None:
    lab = Lab(Plan(seed=2))
    lab.run_until(1000)
    leader = next(iter(lab.cluster.invariants.leaders.values()))
    lab.act(f"crash {leader}")
    for host in lab.cluster.hosts.values():
        host.clock._ring = lambda: None  # no election timeout ends any more
    lab.cluster.world.after(9000, lambda: None)
    lab.run_until(30_000)
    assert "does not elect a leader" in lab.broken


def test_held_disks_and_cut_links_excuse_a_cluster(led: Lab) -> None:
    led.act("cut s1 s2 | s3")
    led.act("hold disk s2")
    led.act("s1 <- c@set a 1")
    led.run_until(30_000)
    assert led.broken == ""


def test_step_ends_at_a_time_even_if_nothing_happens(led: Lab) -> None:
    led.act("cut s2")
    led.act("cut s3")
    now_ms = led.cluster.world.now_ms
    assert not led.step(until_notable=True, until_ms=now_ms + 5)
    assert led.cluster.world.now_ms <= now_ms + 5


def test_time_line_goes_back_and_forth(led: Lab) -> None:
    led.act("crash s2")
    led.run_until(800)
    there = led.facts()["nodes"]
    led.go_to_ms(200)
    assert led.cluster.world.now_ms <= 200
    led.go_to_ms(800)
    assert led.facts()["nodes"] == there


def test_facts_say_what_each_act_left_cut_and_paused(led: Lab) -> None:
    for act in ("cut s1 -> s2", "pause s3", "heal"):
        led.act(act)
    acts = led.facts()["acts"]
    assert [(one["text"], one["cuts"], one["paused"]) for one in acts] == [
        ("cut s1 -> s2", [["s1", "s2"]], []),
        ("pause s3", [["s1", "s2"]], ["s3"]),
        ("heal", [], ["s3"]),
    ]
    assert led.facts()["acts"] == []
