"""The first story of the lab page, as data: the page plays it while CPython loads.

`make -C docs first-steps` writes docs/learn/lab/first.json. The run is a plan, so that the
same nodes take over from the data at any moment.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from .lab import Lab
from .plan import read_plan

PLAN = """
before timeouts s1 150 s2 250 s3 400
before network 10 10
300ms s1 <- client1@set tea hot
400ms crash s1
800ms restart s1
"""


class Chapter(NamedTuple):
    """A part of the story."""

    title: str
    watch: str  # what a reader should look at
    until_ms: int  # when it has been seen


CHAPTERS = (
    Chapter(
        "An election",
        "The ring around each node is its timer. The ring of s1 runs out first. Watch it ask "
        "whether it could win (the dashed signs), and then for votes: with two of three, it leads.",
        215,
    ),
    Chapter(
        "A write",
        "A client asks the leader to set tea to hot. Watch the entry go to the others: when two "
        "of three hold it, it is committed, and the client has its answer.",
        355,
    ),
    Chapter(
        "A crash",
        "The leader crashes. Watch the rings of s2 and s3: no heartbeat fills them up again.",
        600,
    ),
    Chapter(
        "A new leader",
        "The ring of s2 runs out. Watch it win the next term with the vote of s3. It holds the "
        "write, so nothing is lost.",
        712,
    ),
    Chapter(
        "The old leader returns",
        "s1 starts again with the files that it left. Watch it hear of the newer term, follow s2, "
        "and take the entry that it lacks.",
        900,
    ),
)


def data() -> dict[str, Any]:
    """Return the address of the run, the chapters, and all its facts."""
    lab = Lab(read_plan(PLAN))
    lab.run_until(CHAPTERS[-1].until_ms)
    begun = Lab(read_plan(PLAN))
    return {
        "address": begun.facts()["address"],
        "from_ms": round(1000 * begun.picture.last_s),
        "chapters": [chapter._asdict() for chapter in CHAPTERS],
        "facts": {**lab.facts(), "flights": [], "answers": [], "happened": True, "story": None},
    }


def text() -> str:
    """Return the data with a line for each event."""
    found = data()
    events = found["facts"].pop("events")
    rows = ",\n".join(json.dumps(event, ensure_ascii=False) for event in events)
    head = json.dumps(found, ensure_ascii=False)
    assert head.endswith("}}")
    return f'{head[:-2]}, "events": [\n{rows}\n]}}}}\n'


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(text(), encoding="utf-8")
