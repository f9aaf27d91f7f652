"""A failed schedule of the simulation opens in the lab page at its failed step."""

from __future__ import annotations

import re
import subprocess
import sys

from raftline_testing.lab.sources import ROOT
from tests.processes.view.lab_page import LabPage

PLAY = ROOT / "course" / "labs" / "bugs" / "play.py"


def test_schedule_that_fails_with_a_bug_is_red_in_the_page(page: LabPage) -> None:
    command = [sys.executable, str(PLAY), "6", "--simulate", "20", "--nodes", "3"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    address = re.search(r"lab\.html#(sim=\S+)$", ran.stdout, re.MULTILINE)
    words = re.search(r"^seed \d+: InvariantError: (.*)$", ran.stdout, re.MULTILINE)
    assert address is not None
    assert words is not None
    page.browser.get("about:blank")
    page.load(address[1])
    page.waits_for("#broken", words[1])
    red = "return getComputedStyle(document.getElementById('broken')).color"
    assert page.script(red) == "rgb(207, 34, 46)"
    assert "bug=6" in page.script("return location.hash")
    page.click("#back")
    page.waits_gone("#broken")
    page.click("#heal")
    page.waits_for("#answers", "its seed decides about faults and clients")
    page.click("#step")
    page.waits_for("#broken", words[1])
