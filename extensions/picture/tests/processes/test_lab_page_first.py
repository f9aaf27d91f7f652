"""The first minute of the lab page: a recorded run, five steps, then twelve stories."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from raftline.picture.tests.processes.lab_page import LabPage, browser_of_lab
from raftline_testing.nodes.processes import eventually

SHOWN = "return document.body.dataset.shown === 'yes'"
LIVE = "return window.lab.now().isLive"
TOP = "return document.getElementById('stage').getBoundingClientRect().top"
SEEN = """return [window.lab.now().ms, ...document.querySelectorAll('#stage .node')]
    .map((one) => one.ariaLabel ?? one)"""


@pytest.fixture(scope="module")
def fresh() -> Iterator[LabPage]:
    """Return the page as a first visit by a phone sees it; nothing glides."""
    with browser_of_lab("--force-prefers-reduced-motion") as (browser, address):
        phone = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
        browser.get(address)
        yield LabPage(browser, address)


def test_recorded_run_becomes_the_living_one_without_a_jump(fresh: LabPage) -> None:
    eventually(lambda: fresh.script(SHOWN), "the recorded run")
    assert not fresh.script(LIVE)
    assert fresh.script("return window.lab.now().isPlaying")  # from decision to decision
    for _ in range(8):
        fresh.press("#notable")
    before, top = fresh.script(SEEN), fresh.script(TOP)
    assert not fresh.script(LIVE)
    assert before[1].startswith("s1: candidate, term 1") or before[1].startswith("s1: leader")
    eventually(lambda: fresh.script(LIVE), "real nodes", 60)
    fresh.settles()
    assert (fresh.script(SEEN), fresh.script(TOP)) == (before, top)
    fresh.orders("s3", "Crash")
    fresh.shows_node("s3", "down")
    fresh.waits_for("#tale", "This is your own run now")
    fresh.press("#again")


def test_next_step_is_open_when_the_last_one_was_seen(fresh: LabPage) -> None:
    titles = ["An election", "A write", "A crash", "A new leader", "The old leader returns"]
    for place, title in enumerate(titles):
        fresh.waits_for("#tale h2", f"{place + 1}. {title}")
        assert fresh.script("return document.getElementById('chapter').disabled")
        for _ in range(20):
            fresh.press("#notable")
            if not fresh.script("return document.getElementById('chapter').disabled"):
                break
        fresh.click("#chapter")  # plays, until the next press
    fresh.waits_for("#tale h2", "An election (§5.2)")
    first = "return document.querySelector('#stories [value=first]').textContent"
    assert fresh.script(first) == "✓ The first five steps"


def test_answered_story_is_marked_in_the_browser(fresh: LabPage) -> None:
    fresh.open("story=election")
    first = "return document.querySelector('#stories [value=election]').textContent"
    assert fresh.script(first) == "1. An election"
    fresh.press("#tale [data-choice='1']")
    assert fresh.script(first) == "✓ 1. An election"
    assert fresh.text("#answered") == "1 of 12 answered"
    assert "election" in fresh.script("return localStorage.getItem('raftline lab')")
    fresh.press("#next-story")
    fresh.waits_for("#tale h2", "A split vote")


def test_address_of_the_first_story_opens_its_step(fresh: LabPage) -> None:
    """The asked address counts, though the page writes its own one before it hears of that."""
    eventually(lambda: fresh.script(LIVE), "real nodes", 60)
    fresh.script("location.hash = 'first=355'; history.replaceState(null, '', '#story=prevote')")
    fresh.waits_for("#tale h2", "2. A write")
    fresh.settles()
    assert fresh.text("#clock") == "355 ms"
    assert not fresh.script("return document.getElementById('chapter').disabled")
    fresh.press("#notable")
    fresh.click("#share")
    assert fresh.script("return location.hash") == "#first=355"


def test_address_asked_for_while_cpython_loads_is_opened(fresh: LabPage) -> None:
    fresh.browser.get("about:blank")
    fresh.browser.get(fresh.address)
    eventually(lambda: fresh.script(SHOWN), "the recorded run")
    fresh.script("location.hash = 'story=figure-7'")
    assert not fresh.script(LIVE)
    fresh.waits_for("#tale h2", "Figure 7 (§5.3)")
