"""The page of a transcript: its steps and its story."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftline.picture.harness.saved_page import held
from raftline.picture.harness.transcript_page import collected
from raftline_testing.transcripts.drawing import drawn
from raftline_testing.transcripts.player import TranscriptError, perform


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
