"""The lab's page in JavaScript: the faults of the stories are told, by Next as by Play."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from raftline.picture.harness.lab.page import Page
from raftline.picture.harness.lab.stories import STORIES, Story
from raftline_testing.runner.at_night import in_the_rest

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="there is no `node` here")
KNOWN = Path(__file__).parents[4] / "docs" / "learn" / "lab" / "known.js"
PROGRAM = """
const known = new Known(), stops = [], told = [];
known.clear();
for (const batch of batches) {
    const mark = known.mark();
    known.take(batch);
    const step = known.tellingSince(mark);
    stops.push([step ? step.kind : null, step ? step.pulse : null, known.done.at(-1)?.text]);
}
for (let at = -1; (at = known.nextTold(at)) < Infinity;) told.push(at);
const times = known.done.map((act) => known.time("", act.at));
console.log(JSON.stringify({ stops, untold: times.filter((at) => !told.includes(at)) }));
"""


def presses(story: Story) -> list[dict[str, Any]]:
    """Return what the page learns by opening a story, and by each press of Next."""
    page = Page()

    def ask(**request: object) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(page.answer(json.dumps(request)))
        return facts

    batches = [ask(do="open", address=f"story={story.name}")]
    while (facts := ask(do="notable", until_ms=story.end_ms)).get("happened"):
        batches.append(facts)
    return batches


def walked(batches: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the page tells at each stop, and the acts that a recorded run passes."""
    program = f"import {{ Known }} from {json.dumps(KNOWN.as_uri())};\n"
    program += f"const batches = {json.dumps(batches)};\n{PROGRAM}"
    command = [str(NODE), "--input-type=module", "-"]
    done = subprocess.run(
        command, input=program, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    "story", [*STORIES[:2], *map(in_the_rest, STORIES[2:])], ids=lambda one: one.name
)
def test_next_tells_of_each_fault_of_a_story(story: Story) -> None:
    """No heartbeat that came before a fault stands in its place."""
    batches = presses(story)
    found = walked(batches)
    assert len(batches) > 5
    for batch, (kind, is_pulse, act) in zip(batches[1:], found["stops"][1:], strict=True):
        acts = [one["text"] for one in batch.get("acts") or ()]
        if acts:
            assert is_pulse is not True, (acts, kind)
        if kind is None:
            assert acts[-1:] == [act]
    assert found["untold"] == []
