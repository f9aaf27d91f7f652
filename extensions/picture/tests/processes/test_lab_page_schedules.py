"""A failed schedule opens in the lab page at its failed step: of the simulation, of the grader."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from raftline.picture.harness.lab.sources import ROOT
from raftline.picture.tests.processes.lab_page import LabPage

LABS = ROOT / "course" / "labs"
PLAY = LABS / "bugs" / "play.py"
GRADE = LABS / "write-raft" / "grade.py"
MODEL = LABS.parent / "small" / "raft.py"
OWN_TERM = " and self.log.term_at(index) == self.term:"


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
    red = "const red = getComputedStyle(document.body).getPropertyValue('--red');"
    red += "return getComputedStyle(document.getElementById('broken')).borderColor === (() => {"
    red += (
        "const one = document.createElement('i'); one.style.color = red; document.body.append(one);"
    )
    red += "const is = getComputedStyle(one).color; one.remove(); return is; })()"
    assert page.script(red)
    assert "bug=6" in page.script("return location.hash")
    page.click("#back")
    page.waits_gone("#broken")
    page.opens_drawer()
    page.click("#heal")
    page.waits_for("#answers", "its seed decides about faults and clients")
    page.click("#step")
    page.waits_for("#broken", words[1])


def test_schedule_of_the_grader_waits_for_the_hand_in_and_is_red(
    page: LabPage, tmp_path: Path
) -> None:
    mistaken = MODEL.read_text(encoding="utf-8").replace(OWN_TERM, ":")
    (tmp_path / "raft.py").write_text(mistaken, encoding="utf-8")
    command = [sys.executable, str(GRADE), str(tmp_path), "--only", "seed 7001"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    address = re.search(r"lab\.html#(grade=\d+)", ran.stdout)
    words = re.search(r"(after `.*` this must not happen: .*)$", ran.stdout, re.MULTILINE)
    assert address is not None
    assert words is not None
    page.browser.get("about:blank")
    page.load(address[1])
    page.waits_for("#editor h2", "the hand-in that this schedule is for")
    page.script("document.querySelector('#editor textarea').value = arguments[0]", mistaken)
    page.click("#editor [value=save]")
    page.waits_for("#broken", words[1])
    assert page.text("#mark [title]") == "your raft.py"
    page.click("#back")
    page.waits_gone("#broken")
    page.click("#step")
    page.waits_for("#broken", words[1])
    page.ask(do="core", source="")
    page.browser.get("about:blank")
    page.load()
