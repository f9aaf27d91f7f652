"""Prove of every bug that its patch applies, that its transcript fails with it, and passes without:
`python3 course/labs/bugs/check.py`.

With --accept, after an intended change, it first rewrites the transcripts as played by the program
without the bugs. Review that as code.
"""

from __future__ import annotations

import sys
from pathlib import Path

# This also runs in a clone that isn't installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "testing"))
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

if __name__ == "__main__":  # first, as the rest takes a while to load
    from raftline.common.process.quiet_exit import end_quietly

    end_quietly()

from labs.bugs.play import (
    BUGS,
    HERE,
    SOURCES,
    answer,
    copy_with_bug,
    difference,
    happens,
    hint,
    script_of,
)
from labs.checking import Rows, end_with, expect
from labs.leftovers import LabFolder

# The visible harm: lines that never occur in a correct transcript.
HARM: dict[int, tuple[str, ...]] = {
    1: ("client1 <- s1@SET response: a set to 1", "client3 <- s3@SET response: a set to 3"),
    2: ("client3 <- s3@GET response: 3", "s3 leader, term 1"),
    3: ("log 2 3 3 3 4 5 5 5 5, commit 0",),
    4: ("s2 cuts after 1", "client4 <- s2@GET response, no such key: a"),
    5: ("client4 <- s1@SET response: a set to 4",),
    6: ("client1 <- s1@GET response: new",),
    7: ("client1 <- s1@GET response: mine, too",),
    8: ("client2 <- s3@GET response, no such key: c",),
    9: ("client4 <- s1@SET response: a set to 4",),
    10: ("s1: term 1 vote None, log ends at 2",),
    11: ("client4 <- s1@INCR response: 3",),
    12: ("5: GET response: 2",),
    13: ("!! KeyError: 'b'",),
    14: ("s1: term 1 vote s2, log ends at 0",),
    15: ("client1 <- s1@SET response: a set to 1", "s1 leader, term 2"),
    16: ("client2 <- s1@GET response: bad", "s1 leader, term 4, log 1 1 2 3 3 4"),
    17: ("s1 leader, term 1, log 1 1, commit 1",),
    18: ("already voted for s1 in term 2", "client1 <- s2@Sorry, I know of no leader. Try again."),
    19: ("client4 <- s1@GET response: shut",),
    20: ("s1 applies 2 1 set a 1", "client2 <- s1@GET response: 1"),
    21: ("3: SET response: price set to 4",),
    22: ("client4 <- s3@GET response, no such key: a",),
    23: ("client4 <- s1@GET response: 4", "s1 leader, term 1, log 1 1 1, commit 2"),
    24: ("s3 applies 2 1 set a bad", "client1 <- s3@GET response: bad"),
}


def prove(number: int) -> None:
    """Play one bug's transcript with and without it."""
    script = script_of(number)
    with LabFolder() as scene:
        faulty = happens(script, copy_with_bug(number, scene.folder))
    sound = happens(script, SOURCES)
    if difference(script, sound):
        raise AssertionError(f"without the bug it goes otherwise: {difference(script, sound)}")
    for harm in HARM[number]:
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
    rows = Rows(*(f"bug-{number:02}" for number in HARM))
    for number in BUGS:  # not by its name, which would give away the bug
        with rows.row(f"bug-{number:02}", what="does its harm; and without it there is none"):
            prove(number)
    with rows.row("sheet", what="each bug has two hints and an answer"):
        for number in BUGS:
            expect(answer(number), "*There*:")
            if not (hint(number, 1) and hint(number, 2)):
                raise AssertionError(f"a hint for bug {number} is empty")
    return rows.finish()


if __name__ == "__main__":
    end_with(main)
