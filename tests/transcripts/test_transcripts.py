"""Every transcript next to this file is played, and must happen as it is written; those of the
repair lab and of the path for learners as well."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import pytest

from raftline_testing.transcripts.drawing import drawn
from raftline_testing.transcripts.player import TranscriptError, perform

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT / "course" / "labs" / "repair"
RUNS = sorted((ROOT / "docs" / "learn").glob("*.txt"))
TRANSCRIPTS = sorted([*Path(__file__).parent.glob("*.txt"), *LAB.glob("scenario-*.txt"), *RUNS])


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_it_happens_as_written(path: Path, request: pytest.FixtureRequest) -> None:
    written = path.read_text(encoding="utf-8")
    happened, problem = played(written)
    if happened and request.config.getoption("accept", default=False):
        path.write_text(happened, encoding="utf-8")
    elif problem:
        pytest.fail(f"{problem}\n{drawn(written, path.stem)}", pytrace=False)


def played(written: str) -> tuple[str, str]:
    """Return what happens, and how it differs from what is written, "" where it does not."""
    try:
        happened = perform(written)
    except TranscriptError as error:
        return "", str(error)
    difference = difflib.unified_diff(
        written.splitlines(), happened.splitlines(), "written", "happened", lineterm="", n=8
    )
    return happened, "\n".join(difference)


def test_a_transcript_in_which_something_else_happens_says_what() -> None:
    happened, problem = played("> start s1 s2 s3\n> status\ns1 leader\n")
    assert happened.startswith("> start s1 s2 s3\n")
    assert "-s1 leader" in problem.splitlines()


def test_the_first_line_of_each_says_in_a_sentence_what_it_shows() -> None:
    first = {path.stem: path.read_text(encoding="utf-8").splitlines()[0] for path in TRANSCRIPTS}
    assert [name for name, line in first.items() if not re.fullmatch(r"# .*\.\s*", line)] == []
