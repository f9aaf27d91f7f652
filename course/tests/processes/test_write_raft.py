"""The lab "write Raft": its sheet, its skeleton, and what students get."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from course.tests.sheets import PARTS

from labs import handout
from labs.solutions import make
from labs.solutions.model import model, write
from raftline_course.grading.handin import read
from raftline_course.grading.judging import marks_of
from raftline_course.grading.milestones import LAB, MILESTONES

ROOT = Path(__file__).resolve().parents[3]
GIVEN = {
    "__init__", "change", "effects", "entries", "identity", "inputs", "log", "membership",
    "messages", "node_view", "progress", "roles",
}  # fmt: skip
# The world asks for these, and the picture.
KEPT = ("compaction_index", "held_by_followers", "lease_until_ms")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("handout")
    handout.make_handout("write-raft", target)
    return target


def test_a_handout_has_no_answer_and_no_history(made: Path) -> None:
    names = [path.relative_to(made).as_posix() for path in made.rglob("*")]
    kept_back = re.compile(
        r"(^|/)(solutions|small|\.git|mutants)(/|$)|\.patch$|bugs/bug-|bugs\.py$"
    )
    assert [name for name in names if kept_back.search(name)] == []
    rules = [line.strip() for line in model()["raft.py"].splitlines() if "# Figure 2" in line]
    assert len(rules) > 15
    lab = [*(made / "course" / "labs" / "write-raft").rglob("*.*")]
    written = "\n".join(path.read_text("utf-8") for path in lab if path.is_file())
    assert [rule for rule in rules if rule in written] == []


def test_the_rules_of_raftline_s_core_are_left_out(made: Path) -> None:
    outlined = [one for one in (made / "src" / "raft").glob("*.py") if one.stem not in GIVEN]
    assert {"node", "election", "append_entries", "replication", "state"} <= {
        p.stem for p in outlined
    }
    for path in outlined:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.FunctionDef) or node.name in KEPT:
                continue
            is_property = "property" in [ast.unparse(one) for one in node.decorator_list]
            assert is_property or isinstance(node.body[0], ast.Raise), (path.name, node.name)
    assert "accepts" not in (made / "src" / "raft" / "log.py").read_text("utf-8")


def test_a_handout_grades_by_itself(made: Path, tmp_path: Path) -> None:
    def graded(folder: Path) -> list[str]:
        done = subprocess.run(
            [
                sys.executable,
                "-I",
                "course/labs/write-raft/grade.py",
                str(folder),
                "--schedules",
                "1",
                "--milestone",
                "1",
                "--milestone",
                "11",
            ],
            cwd=made,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()[3].split()

    assert graded(made / "course" / "labs" / "write-raft" / "skeleton") == [
        "skeleton",
        "0",
        "0",
        "0",
    ]
    assert graded(write(model(), tmp_path / "model")) == ["model", "10", "10", "20"]


@pytest.mark.parametrize(
    "asked", [["--milestone", "4", "--schedules", "1"], ["--only", "04-a-majority-commits"]]
)
def test_a_handout_draws_the_first_failure(made: Path, tmp_path: Path, asked: list[str]) -> None:
    wrong = "\nNode.commit = lambda self: setattr(self, 'commit_index', self.log.last_index)\n"
    write({**model(), "raft.py": model()["raft.py"] + wrong}, tmp_path / "mine")
    command = [
        sys.executable,
        "-I",
        "course/labs/write-raft/grade.py",
        str(tmp_path / "mine"),
        *asked,
    ]
    done = subprocess.run(
        [*command, "--pictures", str(tmp_path / "pictures")],
        cwd=made,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert (done.returncode, done.stderr) == (int("--only" in asked), "")
    (drawn,) = (tmp_path / "pictures").rglob("*.html")
    assert f"picture: {drawn}" in done.stdout
    assert "no majority" in drawn.read_text("utf-8")


@pytest.mark.parametrize("milestone", MILESTONES, ids=lambda one: str(one.number))
def test_the_skeleton_runs_and_has_it_all_to_do(milestone: object) -> None:
    number = getattr(milestone, "number", 0)
    found = marks_of(read(LAB / "skeleton").files, MILESTONES[number - 1], schedules=1)
    assert found.schedules_passed == 0
    assert not [one for one in found.failures if "Error" in one and "AssertionError" not in one]


def test_the_sheet_has_the_form_of_the_others() -> None:
    text = (LAB / "README.md").read_text("utf-8")
    titles = re.findall(r"^#+ (.*)$", re.sub(r"(?ms)^```.*?^```$", "", text), re.MULTILINE)
    assert titles == ["Lab 7: write Raft", *PARTS]
    assert "**Milestone 3." in make.page("write-raft")


def test_the_sheet_and_the_grader_have_the_same_milestones() -> None:
    text = (LAB / "README.md").read_text("utf-8")
    listed = re.findall(r"^\| (\d+) \|", text, re.MULTILINE)
    assert listed == [str(one.number) for one in MILESTONES]
    assert all(len(one.transcripts) >= 2 for one in MILESTONES)
    assert sum(one.count for one in MILESTONES) >= 300
