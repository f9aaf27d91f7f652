"""The grader of the lab "write Raft": what it finds, and what a hand-in can't do to it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from labs.grading import bugs, judging, sandbox
from labs.grading.handin import read
from labs.grading.judging import Marks, marks_of
from labs.grading.milestones import LAB, MILESTONES, POINTS
from labs.grading.remote import Process

ROOT = Path(__file__).resolve().parents[2]
MODEL = read(LAB / "answers").files
GRADE = ROOT / "labs" / "grading" / "grade.py"
needs_lock = pytest.mark.skipif(not sandbox.can_lock(), reason="no list of allowed calls here")


def marks(files: Mapping[str, str], number: int, schedules: int = 1) -> Marks:
    return marks_of(files, MILESTONES[number - 1], schedules=schedules)


def grade(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(GRADE), *map(str, arguments)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("number", range(1, 13))
def test_the_model_solution_gets_all_points(number: int) -> None:
    found = marks(MODEL, number)
    assert (found.points, found.failures) == (POINTS, [])


@pytest.mark.parametrize("number", [3, 8, 9, 11, 12])
def test_raftline_itself_gets_all_points(number: int) -> None:
    found = marks(bugs.hand_in(0), number)
    assert (found.points, found.failures) == (POINTS, [])


def test_a_start_through_files_loses_nothing_without_a_bug() -> None:
    files = dict(bugs.hand_in(0))
    files["raft.py"] = files["raft.py"].replace("THROUGH_FILES = False", "THROUGH_FILES = True")
    found = marks(files, 8)
    assert (found.points, found.failures) == (POINTS, [])


@pytest.mark.parametrize("number", range(1, 25))
def test_each_bug_loses_points_in_the_milestone_that_is_about_it(number: int) -> None:
    schedules = 1 if number == 21 else 0
    found = marks(bugs.hand_in(number), bugs.MILESTONE_OF[number], schedules)
    assert found.points < POINTS
    assert found.first_failure


# --- what a hand-in can't do ----------------------------------------------------------------


def hostile(code: str) -> dict[str, str]:
    """Return a hand-in that does this as soon as it is loaded, and is the model otherwise."""
    return {**MODEL, "raft.py": f"{MODEL['raft.py']}\n\n{code}\n"}


def test_an_endless_loop_ends_at_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "CPU_SECONDS", 1)
    found = marks(hostile("while True: pass"), 1, 15)
    assert found.points == 0
    assert len(found.failures) == 2  # the run, and that the rest was left out
    assert "endless loop" in found.first_failure


def test_a_sleep_ends_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "WALL_SECONDS", 1)
    found = marks(hostile("import time; time.sleep(1000)"), 1, 15)
    assert "did not answer in time" in found.first_failure


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import os; os._exit(0)", "ended by itself, with status 0"),
        ("raise SystemExit", "ended by itself"),
        ("import sys; sys.setrecursionlimit(10**9)\ndef f(): f()\nf()", ""),
        ("held = []\nwhile True: held.append(bytearray(1 << 26))", "MemoryError"),
        ("Node = None", "TypeError"),
        ("this is no Python", "SyntaxError"),
        ("Node.step = lambda *_: 5", "Effects is 5"),
        ("Node.role = 'king'", "role is 'king'"),
        ("Node.wake_at_ms = 0", "wake_at_ms on"),
        ("import os\nfor fd in range(3, 16):\n    os.write(fd, b'{\\'points\\': 10}\\n')", ""),
    ],
)
def test_a_hand_in_that_fails_gets_no_points_for_that(code: str, says: str) -> None:
    found = marks(hostile(code), 1)
    assert found.points == 0
    assert says in found.first_failure


def test_what_a_hand_in_prints_goes_nowhere() -> None:
    code = "import sys\nfor _ in range(1000): print('x' * 1000); sys.stderr.write('y' * 1000)"
    assert marks(hostile(code), 1).points == POINTS


def test_a_changed_grader_is_the_hand_in_s_own() -> None:
    code = (
        "import json, sys\nfrom raftline.raft import effects\n"
        "effects.Effects.wants_disk = property(lambda self: False)\n"
        "for module in list(sys.modules.values()):\n"
        "    if hasattr(module, 'POINTS'): module.POINTS = 1000\n"
    )
    assert marks(hostile(code), 1).points == POINTS


@needs_lock
@pytest.mark.parametrize(
    "code",
    [
        "import os\nwhile True: os.fork()",
        "import threading\nthreading.Thread(target=print).start()",
        "import subprocess\nsubprocess.run(['true'])",
        "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)",
        "import socket\nsocket.socket()",
        "open('/etc/passwd')",
        "import raftline.raft.node",
        "import ctypes\nassert ctypes.CDLL(None).getppid() > 0",
    ],
)
def test_what_is_not_allowed_is_an_error(code: str) -> None:
    found = marks(hostile(code), 1)
    assert found.points == 0
    assert "Error" in found.first_failure


@needs_lock
def test_a_hand_in_deletes_nothing(tmp_path: Path) -> None:
    kept = tmp_path / "others" / "raft.py"
    kept.parent.mkdir()
    kept.write_text("# the work of another\n")
    code = (
        f"import os\nplace = {str(kept.parent)!r}\n"
        "file = place + '/raft.py'\n"
        "for act in (lambda: os.rmdir(place), lambda: os.remove(file),\n"
        "            lambda: open(file, 'w'), lambda: os.rename(place, place + '2'),\n"
        "            lambda: os.chmod(place, 0), lambda: os.truncate(file, 0)):\n"
        "    try:\n        act()\n    except OSError:\n        pass\n    else:\n"
        "        raise AssertionError('done')\n"
    )
    assert marks(hostile(code), 1).points == POINTS
    assert kept.read_text() == "# the work of another\n"


def test_the_process_of_a_run_is_gone_with_it() -> None:
    with Process(MODEL) as process:
        inside = process._process
        assert inside.poll() is None
    assert inside.poll() is not None


# --- the table ------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, files in (("ann", MODEL), ("bob", hostile("import os; os._exit(3)")), ("eve", {})):
        (tmp_path / "all" / name).mkdir(parents=True)
        for path, text in files.items():
            (tmp_path / "all" / name / path).write_text(text, encoding="utf-8")
    return tmp_path / "all"


def test_the_table_has_a_row_for_each_hand_in(folder: Path) -> None:
    done = grade(folder, "--milestone", 1, "--milestone", 3, "--schedules", 1, "--jobs", 2)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("isolation: ")
    assert lines[2:7] == [
        "hand-in    1    3    sum",
        "ann       10   10     20",
        "bob        0    0      0",
        "eve      there is no raft.py",
        "of        10   10     20",
    ]
    assert "bob, milestone 1: transcripts 0/2, schedules 0/1" in lines


def test_the_first_failure_is_drawn(folder: Path, tmp_path: Path) -> None:
    code = "Node._commit = lambda self: setattr(self, 'commit_index', self.log.last_index)"
    (folder / "bob" / "raft.py").write_text(hostile(code)["raft.py"])
    pictures = tmp_path / "pictures"
    done = grade(
        folder / "bob", "--milestone", 4, "--schedules", 2, "--json", "--pictures", pictures
    )
    told = json.loads(done.stdout)["hand_ins"][0]
    assert told["points"] < POINTS
    page = Path(told["milestones"][0]["picture"]).read_text(encoding="utf-8")
    assert 'id="saved">' in page
    assert "s1" in page
    first = told["milestones"][0]["first_failure"]
    assert "04-a-majority-commits" in first


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["nowhere"], "holds no hand-in"),
        ([".", "--milestone", "13"], "there are milestones 1 to 12"),
        ([".", "--jobs", "0"], "no number from 1 on"),
    ],
)
def test_what_is_mistyped_is_told_in_a_line(given: list[str], says: str) -> None:
    done = grade(*given)
    assert done.returncode == 2
    assert says in done.stderr.splitlines()[-1]


def test_the_command_of_the_package_is_the_grader(folder: Path) -> None:
    words = [sys.executable, "-m", "raftline", "grade", str(folder / "eve")]
    done = subprocess.run(words, cwd=ROOT / "src", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "holds no hand-in" in done.stderr
