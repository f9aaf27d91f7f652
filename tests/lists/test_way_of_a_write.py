"""The page of a write's way names functions that are there, and they run in its order."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from types import FrameType

import pytest

from raftline.net.host import Batch
from tests.core.cores import established
from tests.rim.test_applying import Slow

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "develop" / "how-a-write-travels.md"
PLACE = re.compile(r"`([a-z_/]+\.py)`|`(?:[A-Z]\w+\.)?(\w+)`")
Place = tuple[str, str]  # a file in src/, a function of it
# Those that run at the leader between its queue and its replies; the others belong to a socket, a
# file or a follower.
LEADERS = {
    ("node/rounds.py", "do_round"), ("node/batching.py", "serves_writes"),
    ("node/stepper.py", "serve"), ("node/stepper.py", "_propose"),
    ("raft/replication.py", "propose"), ("node/stepper.py", "dispatch"),
    ("node/writer.py", "_write_once"), ("logmanager.py", "write"),
    ("raft/node.py", "_synced"), ("raft/replication.py", "on_append_accepted"),
    ("raft/replication.py", "advance_commit"), ("node/applying.py", "take"),
    ("node/applying.py", "go_on"), ("state/replicated.py", "apply"),
    ("node/queue.py", "answer_applied"), ("node/rounds.py", "flush_replies"),
}  # fmt: skip


def rows() -> list[list[Place]]:
    """Return the functions that each step of the page's table names."""
    found = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = line.split(" | ")
        if re.match(r"\| \d+ ", line):
            file, places = "", []
            for path, name in PLACE.findall(cells[2]):
                file = path or file
                if name:
                    places.append((file, name))
            found.append(places)
    return found


def defined(file: str) -> set[str]:
    tree = ast.parse((ROOT / "src" / file).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {part.name for part in ast.walk(tree) if isinstance(part, kinds)}


def test_each_function_that_the_page_names_is_there() -> None:
    assert len(rows()) == 14
    missing = [place for row in rows() for place in row if place[1] not in defined(place[0])]
    assert missing == []


@pytest.mark.pure
def test_what_the_page_names_of_the_leader_runs_in_its_order() -> None:
    leader = Slow(established("s1"))
    ran: list[Place] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        file = Path(frame.f_code.co_filename)
        if event == "call" and file.is_relative_to(ROOT / "src"):
            ran.append((str(file.relative_to(ROOT / "src")), frame.f_code.co_name))

    batch = Batch(["set b 1"], is_read=False)
    sys.setprofile(note)
    try:
        leader.driver.submit(batch)
        leader.acknowledge()
    finally:
        sys.setprofile(None)
    assert batch.replies == ["SET response: b set to 1"]
    of_the_leader = [place for row in rows() for place in row if place in LEADERS]
    assert len(of_the_leader) == len(LEADERS)
    at = 0  # a function may run more often, so the next time after the one before is looked for
    for place in of_the_leader:
        at = ran.index(place, at)
