"""The page of a transcript: its steps, its story, and where it differs from a saved one."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftline.picture.harness.saved_page import changed_run, held
from raftline.picture.harness.transcript_page import collected, title_of
from raftline_testing.transcripts.drawing import drawn
from raftline_testing.transcripts.player import TranscriptError, perform

ROOT = Path(__file__).resolve().parents[4]


RUNS = sorted((ROOT / "docs" / "learn").glob("*.txt"))


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


def test_wait_is_shown_with_its_sentence_and_nodes_in_order() -> None:
    """A wait is shown with its sentence and nodes in the order of their start."""
    written = "# A title.\n> start s2 s1\n# All wait.\n> wait 140ms\n# One stands.\n> wait 10ms\n"
    page = held(collected(written)[0].page("a title"))
    first = next(one["at"] for one in page["events"] if one.get("in") == "Tick")
    assert 0.13 < page["story"][1]["at"] < first
    assert page["members"] == ["s2", "s1"]


def test_a_transcript_that_fails_is_drawn_up_to_there(tmp_path: Path) -> None:
    written = "> start s1 s2 s3\n> settle 200ms\n> crash s9\n"
    with pytest.raises(TranscriptError, match="KeyError: 's9'"):
        perform(written)
    page = tmp_path / "transcript-broken.html"
    assert drawn(written, "broken", tmp_path) == f"the picture: {page}"
    assert "so I lead" in page.read_text(encoding="utf-8")
