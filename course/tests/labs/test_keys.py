"""The teachers' keys: an answer with evidence to each question of each sheet."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from course.tests.sheets import labs

from labs.solutions import make
from labs.solutions.model import model
from raftline_course.grading.handin import read

SEEN = re.compile(r"^```text\n(.+?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("lab", labs())
def test_a_key_answers_each_question_and_shows_evidence(lab: str) -> None:
    answered = {title: body for title, body in make.sections(lab).items() if title.isdigit()}
    assert list(answered) == list(make.questions(lab))
    assert [title for title, body in answered.items() if not SEEN.search(body)] == []
    assert [title for title, body in answered.items() if body.startswith("```")] == []


@pytest.mark.parametrize(
    "lab", sorted(path.stem for path in make.KEYS.glob("*.md") if path.stem != "bugs")
)
def test_a_key_has_for_each_question_an_answer_that_gets_half(lab: str) -> None:
    answered = {title: body for title, body in make.sections(lab).items() if title.isdigit()}
    wanted = re.compile(r'^Half: ".+[.?]"\s.+\.$', re.MULTILINE)
    assert [title for title, body in answered.items() if len(wanted.findall(body)) != 1] == []


def test_make_keys_makes_a_page_for_each_lab_with_its_questions(tmp_path: Path) -> None:
    (tmp_path / "old.md").touch()
    without = make.make_keys(tmp_path)
    made = sorted(path.name for path in tmp_path.glob("*.md"))
    assert made == sorted(path.name for path in make.KEYS.glob("*.md"))
    assert {f"{lab}.md" for lab in labs()} <= {*made}
    assert not {*without} & {*labs()}
    for lab in labs():
        text = (tmp_path / f"{lab}.md").read_text("utf-8")
        assert all(f"**{question}**" in text for question in make.questions(lab).values())
    assert "## 24 Committed because it is in the log" in (tmp_path / "bugs.md").read_text("utf-8")


def test_key_that_does_not_fit_its_sheet_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key that does not fit its sheet is reported in one line."""
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "README.md").write_text("# Lab\n\n## Questions\n\n1. Why?\n2. How?\n")
    (tmp_path / "one.md").write_text("# Key\n\n## 1\n\nBecause.\n")
    monkeypatch.setattr(make, "LABS", tmp_path)
    monkeypatch.setattr(make, "KEYS", tmp_path)
    monkeypatch.setattr(make, "MADE", tmp_path / "made")
    assert make.main() == 1
    said = capsys.readouterr().err
    assert (
        said
        == "make.py: course/labs/solutions/keys/one.md answers ['1'], the sheet asks ['1', '2']\n"
    )


def test_keys_include_the_whole_model_solution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A lab without a key is named; the folder of lab 7 can be graded as it is."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "README.md").touch()
    monkeypatch.setattr(make, "LABS", tmp_path)
    monkeypatch.setattr(make, "MADE", tmp_path / "made")
    monkeypatch.setattr(make, "KEYS", tmp_path)
    assert make.main() == 0
    assert read(tmp_path / "made" / "write-raft").files == model()
    assert "none for other" in capsys.readouterr().out
