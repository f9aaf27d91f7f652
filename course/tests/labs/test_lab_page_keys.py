"""Each bug of lab 6 breaks a rule in the lab page, by its key and as few acts as the page says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from labs.bugs import play
from raftline.picture.harness.lab.bugs import FEWEST_ACTS
from raftline.picture.harness.lab.plan import read_plan
from raftline.picture.harness.lab.sources import ROOT, packed
from raftline.picture.harness.lab.stories import BY_NAME

KEYS = play.HERE.parent / "solutions" / "keys" / "lab-page.json"
PROGRAM = """
import json, sys
import boot
booted = boot.Booted()
for bug, address in json.load(sys.stdin):
    booted.answer(json.dumps({"do": "open", "address": address}))
    for until_ms in (5000, 9000):
        facts = json.loads(booted.answer(json.dumps({"do": "run", "until_ms": until_ms})))
    print(json.dumps([bug, facts["broken"], facts["refused"], facts.get("fewest_acts")]))
"""


def plans() -> dict[int, str]:
    return {int(bug): text for bug, text in json.loads(KEYS.read_text(encoding="utf-8")).items()}


def test_stories_that_the_labs_name_are_there() -> None:
    pages = [*play.HERE.parent.glob("*/README.md"), ROOT / "docs/learn/lab-guide.md"]
    texts = [page.read_text(encoding="utf-8") for page in pages]
    named = [set(re.findall(r"lab\.html#story=([\w-]+)", text)) for text in texts]
    assert set().union(*named) == set(BY_NAME)
    assert sum(map(bool, named)) == 6  # five labs, and the page about the lab


def test_each_bug_has_a_key_of_as_many_acts_as_the_page_says() -> None:
    counts = {bug: len(read_plan(text).acts) for bug, text in plans().items()}
    assert counts == FEWEST_ACTS
    assert sorted(counts) == play.BUGS


@pytest.mark.slow
def test_each_key_breaks_a_rule_with_its_bug_alone(tmp_path: Path) -> None:
    zipfile.ZipFile(BytesIO(packed())).extractall(tmp_path)
    runs = [(0, read_plan(text).address()) for text in plans().values()]
    runs += [(bug, f"bug%20{bug};{read_plan(text).address()}") for bug, text in plans().items()]
    runs.append((6, f"bug%206;{BY_NAME['figure-8'].read_plan().address()}"))
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(runs),
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    *results, counted = [json.loads(line) for line in ran.stdout.splitlines()]
    assert "s1 commits entry 2 of term 2 by counting, leading term 4" in counted[1]  # moment (c)
    assert len(results) == 2 * len(play.BUGS)
    assert [result for result in results if not result[0] and result[1:3] != ["", ""]] == []
    assert [result for result in results if result[0] and not result[1]] == []
    assert {bug: fewest for bug, _, _, fewest in results if bug} == FEWEST_ACTS
