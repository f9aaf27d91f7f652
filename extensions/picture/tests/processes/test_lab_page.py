"""The lab page in a real browser: real nodes run there, and the same plan gives the same events."""

from __future__ import annotations

import json

from raftline.picture.harness.lab.lab import Lab
from raftline.picture.harness.lab.plan import plan_in
from raftline.picture.harness.lab.sources import ROOT
from raftline.picture.tests.processes.lab_page import LabPage
from raftline_testing.nodes.processes import eventually


def test_write_is_answered_and_back_undoes_a_crash(page: LabPage) -> None:
    page.open("before%20timeouts%20s1%20150%20s2%20400%20s3%20500;at%2060")
    page.shows_node("s1", "leader, term 1")
    page.type("s1", "client4@set b 5")
    page.click("#play")
    page.waits_for("#answers", "client4 <- s1@SET response: b set to 5")
    page.waits_for("#files [data-node=s2] .file", "2 1 set b 5")
    page.click("#play")
    page.orders("s1", "Crash")
    page.shows_node("s1", "down")
    page.click("#back")
    page.shows_node("s1", "leader")
    page.click("#step")
    page.shows_node("s1", "down")
    eventually(lambda: "crash%20s1" in page.script("return location.hash"), "the address")


def test_message_in_flight_is_held_and_a_link_is_cut(page: LabPage) -> None:
    page.open("before%20timeouts%20s1%20150%20s2%20400%20s3%20500;at%2060")
    page.type("s1", "set b 5")
    page.opens_drawer()
    page.waits_for("#flights", "s1 → s2")
    assert page.script(
        "const one = arguments[0]; return one.scrollWidth <= one.clientWidth",
        page.browser.find_element("id", "drawer"),
    )
    page.click("#flights [data-act^=hold]")
    page.waits_for("#flights .held", "held")
    page.click('#links [data-link="s1 s3"]')
    page.waits_for("#links", "✕")
    assert page.script("return document.querySelectorAll('#links [aria-pressed=true]').length") == 2


def test_same_plan_gives_the_same_events_in_the_browser(page: LabPage) -> None:
    run = "seed%207;60%20crash%20s1;150%20restart%20s1;200%20cut%20s2;at%20400"
    page.open(run)
    there = page.ask(do="open", address=run)
    plan = plan_in(run)
    lab = Lab(plan)
    lab.go_to_events(plan.at)
    here = json.loads(json.dumps(lab.facts()))
    assert there["events"] == here["events"]
    assert len(here["events"]) > 500
    assert there["nodes"] == here["nodes"]


def test_address_that_is_not_a_run_is_told_in_a_sentence(page: LabPage) -> None:
    page.open("seed%20x")
    page.waits_for("#answers", "not a line of a plan: seed x")


def test_world_judges_the_answer_to_a_story(page: LabPage) -> None:
    page.open("story=crash")
    page.waits_for("#tale", "s1 leads, commits a write, and crashes at 400 ms.")
    page.click("#tale [data-choice=s1]")
    page.waits_for("#tale .verdict", "Not s1.")
    page.click("#tale [data-choice=s2]")
    page.waits_for("#tale .verdict", "Yes: the world says s2.")
    page.browser.find_element("css selector", "#stories option[value=figure-7]").click()
    page.waits_for("#tale h2", "Figure 7")
    page.settles()
    assert len(page.script("return [...document.querySelectorAll('#stage .node')]")) == 7


def test_bug_is_in_the_program_and_leaves_it_again(page: LabPage) -> None:
    halves = "nodes%20s1%20s2%20s3%20s4;before%20timeouts%20s1%20150%20s2%20900%20s3%20160"
    halves += "%20s4%20900;0%20cut%20s1%20s2%20|%20s3%20s4"
    page.open(halves)
    assert page.ask(do="run", until_ms=1000)["broken"] == ""
    page.ask(do="open", address=f"bug%201;{halves}")
    assert "lead term 1" in page.ask(do="run", until_ms=1000)["broken"]
    page.ask(do="open", address=halves)
    assert page.ask(do="run", until_ms=1000)["broken"] == ""
    assert page.ask(do="open", address="bug%2099")["problem"] == "there is no bug 99"


def test_list_of_events_stays_at_its_end(page: LabPage) -> None:
    page.open("seed%201;at%20100")
    page.opens_drawer()
    page.press("#step")
    is_at_end = (
        "const list = document.getElementById('list');"
        "return list.scrollTop > 0 && list.scrollTop + list.clientHeight > list.scrollHeight - 2"
    )
    eventually(lambda: page.script(is_at_end), "the last event is in sight")


def test_own_core_runs_in_the_page(page: LabPage) -> None:
    model = ROOT / "course" / "small" / "raft.py"
    page.ask(do="core", source=model.read_text(encoding="utf-8"))
    page.ask(do="open", address="before%20timeouts%20s1%20150%20s2%20400%20s3%20500")
    page.ask(do="run", until_ms=400)
    page.ask(do="act", act="s1 <- client4@set b 5")
    facts = page.ask(do="run", until_ms=600)
    assert facts["answers"] == ["client4 <- s1@SET response: b set to 5"]
    assert "SyntaxError" in page.ask(do="core", source="x = = 1")["broken"]
    assert page.ask(do="core", source="")["broken"] == ""
