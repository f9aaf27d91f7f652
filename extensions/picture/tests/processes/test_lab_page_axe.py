"""axe, which checks pages for readers with a screen reader, finds nothing serious in the lab."""

from __future__ import annotations

import pytest

from raftline.picture.tests.processes.axe import SCHEMES, needs_axe, violations, with_axe
from raftline.picture.tests.processes.lab_page import LabPage

PLANT = """const planted = document.createElement("div");
    planted.id = "planted";
    planted.innerHTML = "<button></button><p style='color: #aaa; background: #fff'>pale</p>";
    document.querySelector("main").append(planted);"""
pytestmark = needs_axe
MOMENTS = {
    "a story": "story=crash",
    "a cut link and a write": "before%20timeouts%20s1%20150%20s2%20400%20s3%20500;"
    "60%20cut%20s1%20-%3E%20s3;61%20s1%20%3C-%20c@set%20b%205;at%2062",
    "a broken rule": "bug%202;seed%20555;nodes%20s1%20s2%20s3%20s4;at%20900",
    "seven nodes": "story=figure-7",
}
OPENED = ("#stage [data-node=s1]", "#drawer-open", "#as-lanes")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_nothing_serious_in_light_and_dark(page: LabPage, scheme: str) -> None:
    with_axe(page.browser, scheme)
    try:
        for moment, run in MOMENTS.items():
            page.open(run)
            page.press("#step")
            assert (moment, violations(page.browser)) == (moment, [])
        for opened in OPENED:
            page.click(opened)
            assert (opened, violations(page.browser)) == (opened, [])
        page.click("#as-stage")
        page.click("#core")  # a dialog
        assert ("a dialog", violations(page.browser)) == ("a dialog", [])
        page.click("#editor button[value='']")
    finally:
        with_axe(page.browser, "")


def test_fault_that_was_planted_is_found(page: LabPage) -> None:
    page.open("story=crash")
    with_axe(page.browser, "")
    page.script("document.getElementById('drawer').hidden = true")  # axe skips what it covers
    page.script(PLANT)
    try:
        found = {one.partition(":")[0] for one in violations(page.browser)}
    finally:
        page.script("document.getElementById('planted').remove()")
    assert found == {"button-name", "color-contrast"}
