"""Each bug of lab 6 is broken by its key within the page."""

from __future__ import annotations

import json

import pytest

from raftline.picture.harness.lab.bugs import FEWEST_ACTS
from raftline.picture.harness.lab.plan import read_plan
from raftline.picture.harness.lab.sources import ROOT
from raftline.picture.tests.processes.lab_page import LabPage

KEYS = ROOT / "course" / "labs" / "solutions" / "keys" / "lab-page.json"


@pytest.mark.parametrize("bug", FEWEST_ACTS)
def test_key_breaks_a_rule_in_the_page(page: LabPage, bug: int) -> None:
    plan = read_plan(json.loads(KEYS.read_text(encoding="utf-8"))[str(bug)])
    page.open(f"bug%20{bug};{plan.address()}")
    for until_ms in (5000, 9000):
        page.ask(do="run", until_ms=until_ms)
    page.click("#step")
    count = "1 act" if FEWEST_ACTS[bug] == 1 else f"{FEWEST_ACTS[bug]} acts"
    page.waits_for("#broken", f"the shortest way known has {count}")
