"""Every transcript beside this file is played, and must happen as it is written; those of the
repair lab as well."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import pytest

from tests.transcripts.player import TranscriptError, perform

LAB = Path(__file__).resolve().parents[2] / "labs" / "repair"
TRANSCRIPTS = sorted([*Path(__file__).parent.glob("*.txt"), *LAB.glob("scenario-*.txt")])


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_it_happens_as_written(path: Path, request: pytest.FixtureRequest) -> None:
    written = path.read_text(encoding="utf-8")
    failure = ""
    try:
        happened = perform(written)
    except TranscriptError as error:
        failure = str(error)
    if failure:
        pytest.fail(failure, pytrace=False)
    if request.config.getoption("accept", default=False):
        path.write_text(happened, encoding="utf-8")
        return
    if written != happened:
        difference = difflib.unified_diff(
            written.splitlines(), happened.splitlines(), "written", "happened", lineterm="", n=8
        )
        pytest.fail("\n".join(difference), pytrace=False)


def test_the_first_line_of_each_says_in_a_sentence_what_it_shows() -> None:
    first = {path.stem: path.read_text(encoding="utf-8").splitlines()[0] for path in TRANSCRIPTS}
    assert [name for name, line in first.items() if not re.fullmatch(r"# .*\.\s*", line)] == []
