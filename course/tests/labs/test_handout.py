"""Handouts: all that a sheet names, and nothing that is the teacher's."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from course.tests.sheets import labs, sheet

from labs import handout
from labs.bugs import patching, play
from labs.handout import HandoutError, files_of, make_handout
from raftline_testing.markdown import links_in

KEYS = re.compile(
    r"(^|/)(solutions|\.git)(/|$)|\.patch$|^testing/raftline_testing/mutants|CHANGELOG"
)


@pytest.mark.parametrize("lab", labs())
def test_a_handout_has_what_its_sheet_links_to_and_no_key(lab: str, tmp_path: Path) -> None:
    make_handout(lab, tmp_path)
    made = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")]
    assert [name for name in made if KEYS.search(name)] == []
    folder = tmp_path / "course" / "labs" / lab
    wanted = {link.partition("#")[0] for link in links_in(sheet(lab))}
    missing = [link for link in wanted if not (folder / link).exists()]
    assert missing == []
    first = (tmp_path / "README.md").read_text("utf-8")
    assert first.startswith(sheet(lab).partition("\n")[0])
    pages = [(page, links_in(page.read_text("utf-8"))) for page in tmp_path.rglob("*.md")]
    broken = [
        (page, link)
        for page, links in pages
        for link in links
        if "://" not in link and not (page.parent / link.partition("#")[0]).exists()
    ]
    assert broken == []
    assert [link for link in links_in(first) if not (tmp_path / link).exists()] == []


@pytest.mark.parametrize("lab", labs())
def test_each_program_of_a_handout_finds_its_modules(lab: str) -> None:
    files = files_of(lab)
    assert {"src/server.py", f"course/labs/{lab}/README.md"} <= files
    assert {name for name in handout.kept_files() if name in handout.ALWAYS} <= files
    programs = [
        name for name in files if name.startswith(f"course/labs/{lab}/") and name.endswith(".py")
    ]
    assert programs
    assert handout.imported(programs) <= files


def test_conform_handout_has_what_its_sheet_reads(tmp_path: Path) -> None:
    """A handout of the lab `conform` has what its sheet reads, and names what it needs."""
    make_handout("conform", tmp_path)
    folder = tmp_path / "course" / "labs" / "conform"
    files = re.findall(r"^\| `([^`]+)` \|", sheet("conform"), re.MULTILINE)
    assert len(files) > 4
    assert [name for name in files if not (folder / name).is_file()] == []
    if shutil.which("cc") and shutil.which("make"):
        subprocess.run(["make", "-s", "-C", folder], check=True)
        assert (folder / "node").is_file()
    judged = re.search(
        r"^ +python3 (src/cli\.py conform) .* -- (.*)$", sheet("conform"), re.MULTILINE
    )
    assert judged is not None
    command = [sys.executable, "-S", "-E", *judged[1].split(), "--list", "--", *judged[2].split()]
    listed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "vote-kept" in listed.stdout
    first = (tmp_path / "README.md").read_text("utf-8")
    assert first.endswith("You need Python 3.10 or newer, a C compiler and `make`.\n")


def test_a_handout_of_the_bugs_plays_them_and_has_no_answers(tmp_path: Path) -> None:
    make_handout("bugs", tmp_path)
    assert not any("b/src/raft" in path.read_text() for path in tmp_path.rglob("*.packed"))

    def ran(*typed: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, str(tmp_path / "course/labs/bugs/play.py"), *typed],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    status, said = ran("1")
    assert (status, "+client1 <- s1@SET response: a set to 1" in said) == (1, True), said
    assert ran("1", "--answer") == (0, f"{play.NO_ANSWERS}\n")


def test_handout_without_the_grader_says_so(tmp_path: Path) -> None:
    """A handout without the grader says so in a line, and has the other commands."""
    make_handout("replicas", tmp_path)

    def ran(*typed: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-S", "-E", "src/cli.py", *typed]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    graded = ran("grade", "mine")
    assert (graded.returncode, graded.stdout, graded.stderr.count("\n")) == (2, "", 1)
    assert graded.stderr.startswith("raftline: this copy of raftline has no grader; ")
    conform = ran("conform", "--help")
    assert (conform.returncode, conform.stderr) == (0, "")


@pytest.mark.parametrize(
    ("lab", "name", "kept"),
    [
        ("conform", "course/labs/conform/node.c", False),
        ("conform", "course/labs/conform/node.js", False),
        ("conform", "course/raftline_course/grading/selftests/bugs.py", True),
        ("bugs", "course/labs/solutions/bugs.md", True),
        ("bugs", "course/labs/bugs/hints.md", False),
        ("elections", "course/labs/solutions/keys/elections.md", True),
        ("elections", "docs/use/objects.md", False),
    ],
)
def test_the_teachers_files_are_kept_back(lab: str, name: str, kept: bool) -> None:
    assert handout.is_kept_back(lab, name) is kept


def test_a_packed_patch_is_the_patch(tmp_path: Path) -> None:
    handout._copy("course/labs/bugs/bug-03.patch", tmp_path)
    packed = tmp_path / "course/labs/bugs/bug-03.patch"
    assert not packed.exists()
    assert patching.text_of_patch(packed) == (play.HERE / "bug-03.patch").read_text("utf-8")


def test_lab_with_its_own_program_makes_its_handout_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lab with a program of its own makes its handout with it."""
    own = tmp_path / "course" / "labs" / "mine"
    own.mkdir(parents=True)
    (own / "README.md").touch()
    program = "import pathlib, sys\npathlib.Path(sys.argv[1], 'made').touch()\n"
    (own / "handout.py").write_text(program)
    monkeypatch.setattr(handout, "ROOT", tmp_path)
    monkeypatch.setattr(handout, "LABS", tmp_path / "course" / "labs")
    make_handout("mine", tmp_path)
    assert (tmp_path / "made").exists()
    (own / "handout.py").write_text("raise SystemExit(3)\n")
    with pytest.raises(HandoutError, match=r"course/labs/mine/handout\.py failed"):
        make_handout("mine", tmp_path)


@pytest.mark.parametrize("typed", [[], ["phase5"], ["../bugs"], ["-h"], ["bugs", "repair"]])
def test_a_handout_of_no_lab_is_refused_in_one_line(
    typed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert handout.main(typed) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "bugs" in said
    assert "repair" in said
