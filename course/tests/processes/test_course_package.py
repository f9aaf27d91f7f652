"""The course along with an installed store: its commands work, and the store's wheel lacks it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the store alone, as pip installs it."""
    return installed(ROOT, tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the course alone."""
    return installed(ROOT / "course", tmp_path_factory.mktemp("course"))


def installed(project: Path, folder: Path) -> Path:
    """Install a copy of a project, so that nothing is left in the clone."""
    copy = folder / "clone"
    files = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in files.stdout.split("\0"):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--target",
            str(folder / "site"),
            str(copy / project.relative_to(ROOT)),
        ],
        check=True,
        capture_output=True,
    )
    return folder / "site"


def raftline(*words: str, path: list[Path], folder: Path) -> subprocess.CompletedProcess[str]:
    # -S: no editable install of the clone is found.
    return subprocess.run(
        [sys.executable, "-S", "-m", "raftline", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def test_the_store_has_nothing_of_the_course_and_names_it(store: Path, tmp_path: Path) -> None:
    names = {path.name for path in [*store.iterdir(), *(store / "raftline").iterdir()]}
    assert not names & {"raftline_course", "labs", "tests", "conform", "trial", "harness"}
    for command in ("simulate", "conform", "grade", "controller", "picture"):
        done = raftline(command, path=[store], folder=tmp_path)
        said = (
            f"raftline: {command} is a command of the course, "
            "whose wheel `make -C course wheel` builds in a clone\n"
        )
        assert (done.returncode, done.stderr) == (2, said)
    done = raftline("server", "s1", "10000", "--controller", path=[store], folder=tmp_path)
    assert (done.returncode, "unrecognized arguments: --controller" in done.stderr) == (2, True)


def test_the_course_s_commands_work_next_to_an_installed_store(
    store: Path, course: Path, tmp_path: Path
) -> None:
    both = [store, course]
    for command in ("simulate", "conform", "grade", "controller", "picture"):
        done = raftline(command, "--help", path=both, folder=tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), command
    transcript = next((ROOT / "tests" / "transcripts").glob("*.txt"))
    done = raftline("picture", str(transcript), "--out", "page.html", path=both, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "page.html").stat().st_size > 10_000
    (tmp_path / "raft.py").write_text("nonsense(\n")
    done = raftline(
        "grade", ".", "--milestone", "1", "--schedules", "1", path=both, folder=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "milestone" in done.stdout or "isolation" in done.stdout


def test_an_installed_course_has_the_evenings_copy(
    store: Path, course: Path, tmp_path: Path
) -> None:
    """At the place that the page names: the kit judges its server, and the grader its core."""
    both = [store, course]
    page = (ROOT / "course" / "docs" / "evening.md").read_text(encoding="utf-8")
    typed = next(line for line in page.splitlines() if line.startswith("python3 -c "))
    small = subprocess.run(
        [sys.executable, "-S", *shlex.split(typed)[1:]],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, both))},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    server = [sys.executable, f"{small}/server.py", "{name}", "{port}", "{dir}"]
    done = raftline("conform", "--only", "one-vote", "--", *server, path=both, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    words = ("grade", small, "--milestone", "1", "--schedules", "1")
    done = raftline(*words, path=both, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^small +10 +10$", done.stdout, re.M), done.stdout


@pytest.mark.parametrize("which", [0, 1], ids=["installed", "editable"])
def test_the_commands_that_install_store_and_course_find_both(tmp_path: Path, which: int) -> None:
    """pip is asked what it would install; nothing is fetched."""
    page = (ROOT / "course" / "docs" / "index.md").read_text(encoding="utf-8")
    typed = [line for line in page.splitlines() if line.startswith("pip install")][which]
    copy = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(copy)], check=True, capture_output=True)
    ways = ["--dry-run", "--no-index", "--no-build-isolation"]
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(typed, comments=True), *ways],
        cwd=copy,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"Would install raftline-\S+ raftline-course-\S+", done.stdout)
