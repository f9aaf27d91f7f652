"""The lab page in Firefox."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from raftline.picture.harness.lab.lab import Lab
from raftline.picture.harness.lab.plan import plan_in
from raftline.picture.tests.processes.firefox import firefox
from raftline.picture.tests.processes.lab_page import (
    ENTER,
    LabPage,
    answers_a_story_by_keys,
    lab_address,
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabPage]:
    with lab_address() as address, firefox(tmp_path_factory.mktemp("profile")) as browser:
        yield LabPage(browser, address).load("story=crash")


def test_story_is_judged_and_a_crash_is_undone(page: LabPage) -> None:
    page.open("story=crash")
    page.click("#tale [data-choice=s2]")
    page.waits_for("#tale .verdict", "Yes: the world says s2.")
    page.orders("s1", "Crash")
    page.shows_node("s1", "down")
    page.click("#back")
    page.shows_node("s1", "leader")


def test_messages_move_and_time_is_dragged_in_firefox(page: LabPage) -> None:
    page.open("story=election")
    page.press("#notable")
    page.click("#notable")
    assert page.message_moves()
    page.settles()
    page.script(
        "const slider = document.getElementById('when'); slider.value = 300;"
        "for (const name of ['input', 'change']) slider.dispatchEvent(new Event(name))"
    )
    page.shows_node("s1", "leader, term 1")
    page.settles()
    assert 300 <= page.script("return window.lab.now().ms") < 305


def test_same_plan_gives_the_same_events_in_firefox(page: LabPage) -> None:
    run = "seed%207;60%20crash%20s1;150%20restart%20s1;200%20cut%20s2;at%20400"
    there = page.ask(do="open", address=run)
    lab = Lab(plan_in(run))
    lab.go_to_events(400)
    here = json.loads(json.dumps(lab.facts()))
    assert len(here["events"]) > 500
    assert (there["events"], there["nodes"]) == (here["events"], here["nodes"])


def test_three_nodes_fit_on_one_screen_in_firefox(page: LabPage) -> None:
    page.open("seed%201;at%20100")
    sizes = "return [document.documentElement.scrollWidth, innerWidth]"
    wide, room = page.script(sizes)
    assert wide <= room


def test_story_is_answered_by_keys_alone_in_firefox(page: LabPage) -> None:
    """Without a desktop Firefox has no focus, and a button takes no Enter: what Tab reached is
    clicked."""

    def tap(key: str) -> None:
        if key == ENTER:
            page.script("document.activeElement.click()")
        else:
            page.browser.tap(key)

    page.open("story=split-vote")
    answers_a_story_by_keys(page, tap)
