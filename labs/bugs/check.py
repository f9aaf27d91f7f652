"""Proves of every bug that its patch applies, that its transcript fails with it, and passes
without: `python3 labs/bugs/check.py`.

With --accept it first rewrites the transcripts as the program without the bugs plays them, after a
change that was meant; review that as code.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from labs.bugs.play import BUGS, HERE, SOURCES, copy_with_bug, difference, happens, script_of
from labs.checking import Rows, end_with, expect

# What each bug is known by, and the harm that must be seen: lines that never stand in the
# transcript as it should be.
BAD = {
    1: (
        "two of four make a leader",
        "client1 <- s1@SET response: a set to 1",
        "client3 <- s3@SET response: a set to 3",
    ),
    2: (
        "a vote is not written down",
        "client3 <- s3@GET response: 3",
        "s3 leader, term 1",
    ),
    3: ("numbers are compared as text", "log 2 3 3 3 4 5 5 5 5, commit 0"),
    4: ("a late heartbeat cuts", "s2 cuts after 1", "client4 <- s2@GET response, no such key: a"),
    5: ("success before replication", "client4 <- s1@SET response: a set to 4"),
    6: ("an older term's entry is committed by counting", "client1 <- s1@GET response: new"),
    7: ("the longer log wins", "client1 <- s1@GET response: mine, too"),
    8: ("an old leader is obeyed", "client2 <- s3@GET response, no such key: c"),
    9: ("a heartbeat's answer counts for a write", "client4 <- s1@SET response: a set to 4"),
    10: ("the term is that of the last entry", "s1: term 1 vote None, log ends at 2"),
    11: ("entries are applied again", "client4 <- s1@INCR response: 3"),
    12: ("a retry is executed twice", "5: GET response: 2"),
    13: ("a command raises", "!! KeyError: 'b'"),
    14: ("acknowledged before it is synced", "s1: term 1 vote s2, log ends at 0"),
}


def prove(number: int) -> None:
    """Play one bug's transcript with and without it."""
    script = script_of(number)
    with tempfile.TemporaryDirectory() as folder:
        faulty = happens(script, copy_with_bug(number, Path(folder)))
    sound = happens(script, SOURCES)
    if difference(script, sound):
        raise AssertionError(f"without the bug it goes otherwise: {difference(script, sound)}")
    for harm in BAD[number][1:]:
        expect(faulty, harm)
        if harm in sound:
            raise AssertionError(f"{harm!r} happens without the bug as well")


def main() -> int:
    if "--accept" in sys.argv[1:]:
        for number in BUGS:
            script = HERE / f"bug-{number:02}.txt"
            script.write_text(
                happens(script.read_text(encoding="utf-8"), SOURCES), encoding="utf-8"
            )
    rows = Rows(*(f"bug-{number:02}" for number in BAD))
    for number in BUGS:
        with rows.row(f"bug-{number:02}", what=BAD[number][0]):
            prove(number)
    with rows.row("sheet", what="each bug has hints and an answer"):
        for number in BUGS:
            expect((HERE / "hints.md").read_text(encoding="utf-8"), f"**{number}** ")
            expect((HERE / "answers.md").read_text(encoding="utf-8"), f"\n## {number} ")
    return rows.finish()


if __name__ == "__main__":
    end_with(main)
