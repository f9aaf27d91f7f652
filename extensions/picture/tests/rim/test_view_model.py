"""The model of the view's page, in JavaScript: states, logs and orders as of a moment."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="there is no `node` here")
MODEL = Path(__file__).parents[4] / "extensions" / "picture" / "view" / "static" / "model.js"


def evaluated(events: list[dict[str, Any]], expression: str) -> Any:
    """Return the value of a JavaScript expression on a model that took these events."""
    program = (
        f"import {{ Model }} from {json.dumps(MODEL.as_uri())};\n"
        f"const model = new Model();\n"
        f"model.take({{ events: {json.dumps(events)}, offsets: {{}}, left_out: 0 }});\n"
        f"console.log(JSON.stringify({expression}));\n"
    )
    done = subprocess.run(
        [str(NODE), "--input-type=module", "-"],
        input=program,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def state(**others: Any) -> dict[str, Any]:
    """Return a leader's state."""
    return {"role": "leader", "term": 1, "base": 0, "durable": 1, "commit": 1, **others}


def begun(number: int, at: float, **others: Any) -> dict[str, Any]:
    """Return the event of a start."""
    log = [[1, 1, "noop"], [2, 1, "set a 1"]]
    of = {"k": "begin", "id": number, "node": "s1", "at": at}
    return {**of, "state": state(log=log, **others)}


def step(number: int, at: float, node: str = "s2", **others: Any) -> dict[str, Any]:
    """Return the event of a step."""
    nothing: dict[str, Any]
    nothing = {"tags": [], "sent": [], "append": [], "cut": None, "pulse": False, "got": None}
    return {"k": "step", "id": number, "node": node, "at": at, **nothing, **state(), **others}


def test_of_a_node_that_is_gone_the_log_shows_what_its_disk_held() -> None:
    events = [begun(1, 0.0), {"k": "end", "id": 2, "node": "s1", "at": 1.0}]
    found = evaluated(events, "model.at('s1', 2)")
    assert (found["gone"], found["at"], found["log"]) == (True, 1.0, [[1, 1, "noop"]])


def test_dead_node_stays_gone_when_older_steps_are_forgotten() -> None:
    """Its state became one without a role, and the picture was drawn no more."""
    events = [begun(1, 0.0), {"k": "end", "id": 2, "node": "s1", "at": 1.0}]
    events += [step(number, 2.0 + number / 1000) for number in range(10, 10_500)]
    events += [begun(20_000, 13.0)]
    found = evaluated(events, "[model.at('s1', 12.9), model.lives.get('s1').map((one) => one.k)]")
    assert found[0]["gone"] is True
    assert found[1][-1] == "begin"
    assert "end" in found[1]


def test_heartbeat_with_news_is_drawn_with_its_answer() -> None:
    """A heartbeat that tells something new is drawn with its answer."""
    beat = {"k": "message", "from": "s1", "to": "s2", "line": "", "at": 0.0, "arrived": None}
    events = [
        {**beat, "id": 5, "pulse": True},
        {**beat, "id": 6, "pulse": True},
        step(7, 0.1, pulse=False),
        {"k": "arrive", "id": 5, "at": 0.1, "late": False, "step": 7},
    ]
    assert evaluated(events, "[5, 6].map((id) => model.isPulse(model.messages.get(id)))") == [
        False,
        True,
    ]


def test_an_order_is_in_force_until_it_is_taken_back() -> None:
    given = {
        "s1": (["PARTITION s2", "SHUTDOWN", "RESTART"], ["PARTITION s2"]),
        "s2": (["SHUTDOWN", "HEAL"], ["SHUTDOWN"]),
        "s3": (["PARTITION s2", "DELAY 200ms", "HEAL"], []),
        "s4": (["DELAY 200ms", "kill", "start"], []),
        "s5": (["TIMEOUT", "DROP 30%"], ["DROP 30%"]),
    }
    events = [
        {"k": "act", "node": name, "at": at, "text": text}
        for name, (texts, _) in given.items()
        for at, text in enumerate(texts)
    ]
    found = evaluated(
        events,
        f"{json.dumps(list(given))}.map((name) => "
        "[name, model.inForce(name, 9).map((act) => act.text)])",
    )
    assert dict(found) == {name: in_force for name, (_, in_force) in given.items()}
