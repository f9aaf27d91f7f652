"""Every transcript beside this file is played, and must happen as it is written; those of the
repair lab and of the path for learners as well."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import pytest

from raftline_testing.picture.saved_page import changed_run, held
from raftline_testing.picture.transcript_page import collected, title_of
from raftline_testing.transcripts.player import TranscriptError, perform
from raftline_testing.virtual.drawing import FOLDER, save_picture

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


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_a_saved_page_shows_what_happens_today(path: Path) -> None:
    collector, problem = collected(path.read_text(encoding="utf-8"))
    saved = path.with_suffix(".html").read_text(encoding="utf-8")
    assert not problem
    assert changed_run(saved, collector.page(title_of(path))) == ""


def test_another_run_than_the_saved_one_is_first_to_be_explained() -> None:
    """Its message does not invite to accept what may be a fault."""
    saved, now = (
        collected(f"# A title.\n> start s1 s2 s3\n> settle {wait}ms\n")[0].page("a title")
        for wait in (20, 300)
    )
    assert changed_run(saved, saved) == ""
    said = changed_run(saved, now)
    assert said.startswith("the run is another one than the page shows: it was ")
    assert said.index("First find the rule") < said.index("make -C docs learn")


def test_a_page_has_the_comments_of_its_transcript_as_a_story() -> None:
    written = (
        "# A title.\n> start s1 s2 s3\n# Nobody leads.\n> settle 200ms\n# s1 leads.\n> status\n"
    )
    story = held(collected(written)[0].page("a title"))["story"]
    assert [part["text"] for part in story] == ["Nobody leads.", "s1 leads."]
    assert story[0]["at"] < 0.15 < story[1]["at"]


def test_a_wait_is_shown_with_its_sentence_and_nodes_in_the_order_of_their_start() -> None:
    written = "# A title.\n> start s2 s1\n# All wait.\n> wait 140ms\n# One stands.\n> wait 10ms\n"
    page = held(collected(written)[0].page("a title"))
    first = next(one["at"] for one in page["events"] if one.get("in") == "Tick")
    assert 0.13 < page["story"][1]["at"] < first
    assert page["members"] == ["s2", "s1"]


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


def drawn(written: str, name: str, folder: Path = FOLDER) -> str:
    """Write the picture of a transcript that failed, and return the line that names it."""
    return f"the picture: {save_picture(collected(written)[0], f'transcript-{name}', folder)}"


def test_a_transcript_that_fails_is_drawn_up_to_there(tmp_path: Path) -> None:
    written = "> start s1 s2 s3\n> settle 200ms\n> crash s9\n"
    happened, problem = played(written)
    assert not happened
    assert problem.endswith("> crash s9\nKeyError: 's9'")
    page = tmp_path / "transcript-broken.html"
    assert drawn(written, "broken", tmp_path) == f"the picture: {page}"
    assert "so I lead" in page.read_text(encoding="utf-8")


def test_a_transcript_in_which_something_else_happens_says_what() -> None:
    happened, problem = played("> start s1 s2 s3\n> status\ns1 leader\n")
    assert happened.startswith("> start s1 s2 s3\n")
    assert "-s1 leader" in problem.splitlines()


def test_the_first_line_of_each_says_in_a_sentence_what_it_shows() -> None:
    first = {path.stem: path.read_text(encoding="utf-8").splitlines()[0] for path in TRANSCRIPTS}
    assert [name for name, line in first.items() if not re.fullmatch(r"# .*\.\s*", line)] == []
