"""axe, which checks pages for readers with a screen reader, finds nothing serious in the lab."""

from __future__ import annotations

from typing import Any

import pytest

from raftline_testing.picture.lab.sources import ROOT
from tests.picture.processes.lab_page import LabPage

AXE = ROOT / "build" / "axe" / "axe.min.js"
SERIOUS = ("serious", "critical")
RUN = """const done = arguments[0];
    axe.run(document, {resultTypes: ["violations"]}).then((found) => done(found.violations));"""
PLANT = """const planted = document.createElement("div");
    planted.id = "planted";
    planted.innerHTML = "<button></button><p style='color: #aaa; background: #fff'>pale</p>";
    document.querySelector("main").append(planted);"""
pytestmark = pytest.mark.skipif(
    not AXE.is_file(), reason="`make -C testing browser-parts` was not run"
)
MOMENTS = {
    "a story": "story=crash",
    "a cut link and a write": "before%20timeouts%20s1%20150%20s2%20400%20s3%20500;"
    "60%20cut%20s1%20-%3E%20s3;61%20s1%20%3C-%20c@set%20b%205;at%2062",
    "a broken rule": "bug%202;seed%20555;nodes%20s1%20s2%20s3%20s4;at%20900",
    "seven nodes": "story=figure-7",
}
OPENED = ("#stage [data-node=s1]", "#drawer-open", "#as-lanes")


def violations(page: LabPage) -> list[str]:
    found: list[dict[str, Any]] = page.browser.execute_async_script(RUN)
    return [
        f"{one['id']}: {node['html'][:120]}: {node['failureSummary']}"
        for one in found
        if one["impact"] in SERIOUS
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_in_light_and_dark(page: LabPage, scheme: str) -> None:
    scheme_of = [{"name": "prefers-color-scheme", "value": scheme}]
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme_of})
    try:
        page.script(AXE.read_text(encoding="utf-8"))
        for moment, run in MOMENTS.items():
            page.open(run)
            page.press("#step")
            assert (moment, violations(page)) == (moment, [])
        for opened in OPENED:
            page.click(opened)
            assert (opened, violations(page)) == (opened, [])
        page.click("#as-stage")
        page.click("#core")  # a dialog
        assert ("a dialog", violations(page)) == ("a dialog", [])
        page.click("#editor button[value='']")
    finally:
        page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_fault_that_was_planted_is_found(page: LabPage) -> None:
    page.open("story=crash")
    page.script(AXE.read_text(encoding="utf-8"))
    page.script(PLANT)
    try:
        found = {one.partition(":")[0] for one in violations(page)}
    finally:
        page.script("document.getElementById('planted').remove()")
    assert found == {"button-name", "color-contrast"}
