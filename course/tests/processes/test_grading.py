"""The grader of the lab "write Raft": what it finds, and what a hand-in can't do to it."""

from __future__ import annotations

import csv
import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from labs.solutions.model import SMALL, model, write
from raftline.picture.harness.judging.collected import Collector
from raftline_course.grading import grade as grading
from raftline_course.grading import handin, judging
from raftline_course.grading.handin import HandIn, details
from raftline_course.grading.isolation import sandbox, servers
from raftline_course.grading.isolation.servers import CannotLock, Nursery
from raftline_course.grading.judging import Marks, marks_of
from raftline_course.grading.milestones import MILESTONES, POINTS, Milestone
from raftline_course.grading.runs import Stage, run_named, schedule_of, schedules_of
from raftline_course.grading.schedule import Schedule, plan_of
from raftline_course.grading.selftests import bugs, cheats, selftest
from raftline_course.grading.sheets import Row

ROOT = Path(__file__).resolve().parents[3]
MODEL = model()
GRADE = ROOT / "course" / "labs" / "write-raft" / "grade.py"
needs_lock = pytest.mark.skipif(not sandbox.can_lock(), reason="no list of allowed calls here")


def marks(files: Mapping[str, str], number: int, schedules: int = 1) -> Marks:
    return marks_of(files, MILESTONES[number - 1], schedules=schedules)


def grade(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(GRADE), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


# `make -C course grade-test` has all milestones and bugs, with all schedules.
@pytest.mark.parametrize(("number", "schedules"), [(1, 1), (7, 1), (12, 3)])
def test_the_model_solution_gets_all_points(number: int, schedules: int) -> None:
    found = marks(MODEL, number, schedules)
    assert (found.points, found.failures) == (POINTS, [])


@pytest.mark.parametrize("number", range(1, len(MILESTONES) + 1))
def test_the_rules_up_to_a_milestone_are_enough_for_it(number: int) -> None:
    """A student writes one milestone after the other, beginning with the skeleton."""
    found = marks(cheats.cut_down(number), number, 3)
    assert (found.points, found.failures) == (POINTS, [])


@pytest.mark.parametrize("number", range(2, len(MILESTONES) + 1))
def test_the_rules_before_a_milestone_are_not_enough_for_it(number: int) -> None:
    assert marks(cheats.cut_down(number - 1), number, 0).points < POINTS


def test_leader_refusing_each_read_is_told_without_a_loop() -> None:
    """A leader that refuses each read is told so without a loop."""
    code = "RULES['Read'] = lambda self, taken: self.out.refused.extend(taken.tokens)"
    found = marks(hostile(code), 9, 5)
    assert not [one for one in found.failures if "endless loop" in one]
    assert [one for one in found.failures if "the cluster does not" in one]


@pytest.mark.parametrize(("number", "schedules"), [(8, 1), (11, 1), (12, 3)])
def test_raftline_itself_gets_all_points(number: int, schedules: int) -> None:
    found = marks(bugs.hand_in(0), number, schedules)
    assert (found.points, found.failures) == (POINTS, [])


def test_a_start_through_files_loses_nothing_without_a_bug() -> None:
    files = dict(bugs.hand_in(0))
    files["raft.py"] = files["raft.py"].replace("THROUGH_FILES = False", "THROUGH_FILES = True")
    found = marks(files, 8)
    assert (found.points, found.failures) == (POINTS, [])


@pytest.mark.parametrize("number", [1, 7, 14, 21])
def test_each_bug_loses_points_in_the_milestone_that_is_about_it(number: int) -> None:
    schedules = 3 if number == 21 else 0
    found = marks(bugs.hand_in(number), bugs.MILESTONE_OF[number], schedules)
    assert found.points < POINTS
    assert found.first_failure


@pytest.mark.parametrize(
    ("number", "code", "says"),
    [
        (
            2,
            "from raftline.raft.membership import Membership as M\n"
            "M.is_quorum = lambda self, names: True",
            "alone",
        ),
        (9, "RULES['Read'] = lambda self, taken: self.out.refused.append(77)", "was not asked"),
        (10, "Node.check_quorum = lambda self: setattr(self, 'quorum_at_ms', 10**9)",
         "leads on, though for"),
        (12, "Node.hears_leader = lambda self: False\n"
         "from raftline.raft.membership import Membership\n"
         "Membership.joint_to = lambda self, target: target", "makes voters"),
    ],
)  # fmt: skip
def test_a_schedule_finds_what_messages_show(number: int, code: str, says: str) -> None:
    found = marks(hostile(code), number, 12)
    assert found.schedules_passed < 12
    assert says in " ".join(found.failures)


# --- by schedules alone ---------------------------------------------------------------------


# A situation of the paper, or a quiet cluster, finds each of these within a few schedules;
# `make -C course grade-test` has all bugs, cheats and mistakes.
@pytest.mark.parametrize(
    "name",
    [
        "bug 6",
        "a constant knows the shape of Figure 8",
        "a read asks the other servers' memory",
        "a vote is kept in memory that outlives a crash",
        "the election timer is never reset",
        "a leader does not count itself among those that answer",
    ],
)
def test_a_schedule_finds_a_rule_that_is_left_out(name: str) -> None:
    one = next(one for one in selftest.faulty_ones() if one.name == name)
    lost = judging.first_lost(one.files(), MILESTONES[one.milestone - 1], 2)
    assert lost
    assert ".:" not in lost
    assert "in time" not in lost


def test_each_edit_of_a_cheat_fits_the_model_solution() -> None:
    for one in (*cheats.CHEATS, *cheats.MISTAKES):
        assert one.files()["raft.py"] != MODEL["raft.py"]
        compile(one.files()["raft.py"], one.name, "exec")


@pytest.mark.parametrize("milestone", MILESTONES, ids=lambda one: str(one.number))
def test_model_solution_passes_all_situations(milestone: Milestone) -> None:
    """The model solution passes each situation and a quiet cluster."""
    assert milestone.situations
    count = 2 * len(milestone.situations)
    files = cheats.cut_down(max(cheats.TEN, milestone.number))  # the evening's copy up to 10
    with judging.Judge(files, Marks(milestone.number)) as judge:
        for run in schedules_of(milestone, count):
            if run.title:
                assert judge.error_of(run, Stage()) is None, run.text


def test_server_cannot_read_other_servers_or_its_own_past() -> None:
    """A server can't look into another one or into its own past."""
    code = "SEEN = []\ndef look(self, *_):\n    SEEN.append(self.name)\n    assert len(SEEN) == 1\n"
    code += "Node.__init__, begin = (lambda self, *g: (begin(self, *g), look(self))[0]), "
    code += "Node.__init__"
    for name in ("transcript 02-a-majority-elects", "transcript 03-a-vote-survives"):
        run = run_named(name)
        assert run is not None
        with judging.Judge(hostile(code), Marks(2)) as judge:
            assert judge.error_of(run, Stage()) is None


def test_a_salt_draws_other_runs_and_the_same_ones_again() -> None:
    one = MILESTONES[6]
    titles = []
    for salt in ("", "autumn", "autumn", "winter"):
        said: list[str] = []
        run = schedule_of(one, 7001, salt)
        with judging.Judge(MODEL, Marks(7)) as judge:
            assert judge.error_of(run, Stage(say=said.append)) is None
        titles.append("\n".join(said))
    assert titles[1] == titles[2]
    assert len({*titles}) == 3


def test_each_failed_run_costs_a_point() -> None:
    assert [judging._share(5, passed, 100) for passed in (100, 99, 80, 79, 0)] == [5, 4, 4, 3, 0]


@pytest.mark.parametrize(
    ("mistake", "points"),
    [
        ("the election timer is never reset", 8),
        ("any message resets the election timer", 8),
        ("a vote does not reset the election timer", 8),
        ("each election timeout is `election_timeout_ms`", 6),
    ],
)
def test_failed_kind_of_schedule_costs_a_third_of_its_points(mistake: str, points: int) -> None:
    """A mistake with the timer fails few runs, each time of one kind."""
    one = next(one for one in cheats.MISTAKES if one.name == mistake)
    found = marks(one.files(), 2, 10)
    assert (found.points, found.transcripts_passed) == (points, found.transcripts)


ALL_COMMITTED = (  # by a follower
    "append = RULES['AppendEntries']\ndef too_much(self, message):\n    append(self, message)\n"
    "    self.commit_index = self.log.last_index\nRULES['AppendEntries'] = too_much"
)


@pytest.mark.parametrize(
    ("code", "run", "says"),
    [
        (ALL_COMMITTED, "04-entries-reach-all", "it was applied too early, after `settle 200ms`"),
        (ALL_COMMITTED, "06-a-late-message-cuts-nothing", "its commit index is 2 too early"),
        (
            "Node.durable_index = property(lambda self: self.log.last_index, lambda *_: None)",
            "01-a-lone-server-leads",
            "it was applied too early, before `s1 appends 1 1 noop`: a leader counts itself",
        ),
        (
            "Node.restart_timer = lambda self: setattr(self, 'election_at_ms', self.now_ms + 200)",
            "seed 2001",
            "the election timer starts, `pick_timeout_ms` draws a timeout",
        ),
    ],
)
def test_the_sentence_of_a_failure_says_what_is_wrong(code: str, run: str, says: str) -> None:
    found = run_named(run)
    assert found is not None
    with judging.Judge(hostile(code), Marks(1)) as judge:
        error = judge.error_of(found, Stage())
    assert error is not None
    assert says in f"{found.text}: {judging.reason_of(error)}"


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


def test_a_sleep_is_an_error_at_once() -> None:
    found = marks(hostile("import time; time.sleep(1000)"), 1)
    assert found.points == 0
    assert "PermissionError" in found.first_failure or not sandbox.can_lock()


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
        ("Node.role = property(lambda self: 'king', lambda *_: None)", "role is 'king'"),
        ("Node.wake_at_ms = 0", "timers stand still"),
        (
            "Node.append = lambda self, *entry: self.out.append.append(Entry(9, *entry))",
            "appends Entry(index=9, term=1, command='noop') after entry 0",
        ),
        ("import os\nfor fd in range(3, 16):\n    os.write(fd, b'{\\'points\\': 10}\\n')", ""),
    ],
)
def test_a_hand_in_that_fails_gets_no_points_for_that(
    monkeypatch: pytest.MonkeyPatch, code: str, says: str
) -> None:
    monkeypatch.setattr(judging, "CPU_SECONDS", 3)  # the recursion ends by it
    found = marks(hostile(code), 1)
    assert found.points == 0
    assert says in found.first_failure


def test_answers_of_a_run_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answers of a run are bounded as the judge keeps them."""
    monkeypatch.setattr(servers, "RUN_MAX", 200_000)
    code = (
        "step = Node.step\n"
        "def more(self, taken, now_ms):\n"
        "    made = step(self, taken, now_ms)\n"
        "    if self.role == 'leader':\n"
        "        self.log.append(self.term, '')\n"
        "        made.append.append(Entry(self.log.last_index, self.term, 'x' * 30_000))\n"
        "    return made\n"
        "Node.step = more\n"
    )
    found = marks(hostile(code), 1)
    assert found.points == 0
    assert "answers of more than 200000 bytes in one run" in "\n".join(found.failures)
    assert marks(MODEL, 1).points == POINTS


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


# Harmless where the lock is missing: a fork, not a bomb; a signal that ends nothing.
@needs_lock
@pytest.mark.parametrize(
    "code",
    [
        "import os\nif os.fork() == 0: os._exit(0)",
        "import threading\nthreading.Thread(target=print).start()",
        "import subprocess\nsubprocess.run(['true'])",
        "import os\nos.kill(os.getppid(), 0)",
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


def test_the_processes_of_a_run_are_gone_with_it() -> None:
    with Nursery(MODEL) as nursery:
        with nursery.run() as run:
            pids = [run.begin(name)._pid for name in ("s1", "s2", "s1")]
            assert len({*pids}) == 3
            with pytest.raises(ProcessLookupError):
                os.kill(pids[0], 0)  # it began anew
            os.kill(pids[1], 0)
        for pid in pids:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
        assert nursery.is_there
    assert not nursery.is_there


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


@pytest.mark.parametrize(
    ("written", "row"),
    [
        (b"\xef\xbb\xbf", "ann 10 10"),  # as Windows' editor does
        (b"# -*- coding: latin-1 -*-\n# \xfc\n", "ann 10 10"),
        (b"if True\n", "ann 0 0"),
    ],
)
def test_a_file_is_read_as_python_reads_it(folder: Path, written: bytes, row: str) -> None:
    file = folder / "ann" / "raft.py"
    code = MODEL["raft.py"].replace("from __future__ import annotations\n", "")
    file.write_bytes(written + code.replace("\n", "\r\n").encode())
    done = grade(folder / "ann", "--milestone", 1, "--schedules", 1)
    assert done.stdout.splitlines()[3].split() == row.split(), done.stdout
    wrong = "SyntaxError: expected ':' (raft.py, line 1)\n"
    assert (wrong in done.stdout) == (b"if True" in written)
    assert "step through it" not in done.stdout  # no step of it can be shown


@pytest.mark.pure
def test_unreadable_file_affects_its_own_submission_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that cannot be read is the problem of its own submission alone."""

    def refused(path: Path) -> str:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(handin, "_text", refused)
    found = {one.name: one.problem for one in handin.hand_ins_of(folder)}
    unread = "lines.py can't be read: Permission denied"  # the first one
    assert found == {"ann": unread, "bob": unread, "eve": "there is no raft.py"}


def test_a_hand_in_that_is_a_link_is_not_followed(folder: Path) -> None:
    (folder / "mallory").symlink_to("ann")
    found = {one.name: (one.problem, len(one.files)) for one in handin.hand_ins_of(folder)}
    assert found["ann"] == ("", len(MODEL))
    assert found["mallory"] == ("it is a link, and a link is not followed", 0)
    (linked,) = handin.hand_ins_of(folder / "mallory")  # a teacher typed this one
    assert linked.files == MODEL


@pytest.mark.parametrize("name", ["Raft.py", "RAFT.py", "src/raft.py"])
def test_a_main_file_under_another_name_is_named(tmp_path: Path, name: str) -> None:
    file = tmp_path / "ann" / name
    file.parent.mkdir(parents=True)
    file.write_text("")
    problem = f"there is no raft.py, only {name}: make it raft.py"
    assert [one.problem for one in handin.hand_ins_of(tmp_path)] == [problem]
    if file.parent.name == "ann":
        (tmp_path / "ann" / "tests").mkdir()
        assert [one.problem for one in handin.hand_ins_of(tmp_path / "ann")] == [problem]


def test_the_first_failure_is_drawn(folder: Path, tmp_path: Path) -> None:
    code = "Node.commit = lambda self: setattr(self, 'commit_index', self.log.last_index)"
    (folder / "bob" / "raft.py").write_text(hostile(code)["raft.py"])
    pictures = tmp_path / "pictures"
    done = grade(
        folder / "bob", "--milestone", 4, "--schedules", 2, "--json", "--pictures", pictures
    )
    graded = json.loads(done.stdout)["hand_ins"][0]
    assert graded["points"] < POINTS
    page = Path(graded["milestones"][0]["picture"]).read_text(encoding="utf-8")
    assert 'id="saved">' in page
    assert "s1" in page
    first = graded["milestones"][0]["first_failure"]
    assert "04-a-majority-commits" in first
    assert graded["milestones"][0]["lab"].endswith("/docs/learn/lab.html#grade=4000")
    assert '"failure": {"words": "transcript 04-a-majority-commits' in page
    assert "no majority" in page
    assert "so it is committed" not in page
    assert "src/raft/{" not in page.partition('id="saved">')[2]
    assert '"replication.advance_commit"' not in page  # it is not a function of the hand-in


def test_a_picture_that_cannot_be_drawn_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a handout that lacks a function which only the observer of a run calls."""

    def lacking(self: Collector, step: object) -> None:
        raise NotImplementedError("a rule for you to write")

    monkeypatch.setattr(Collector, "take", lacking)
    (tmp_path / "mine").mkdir()
    code = "Node.commit = lambda self: setattr(self, 'commit_index', self.log.last_index)"
    for path, text in hostile(code).items():
        (tmp_path / "mine" / path).write_text(text, encoding="utf-8")
    only = ["--only", "04-a-majority-commits", "--pictures", str(tmp_path / "pictures")]
    assert grading.main([str(tmp_path / "mine"), *only]) == 1
    printed = capsys.readouterr().out
    assert "[!] no picture: when the run was repeated to draw it, " in printed
    assert "a rule for you to write" in printed
    assert not (tmp_path / "pictures").exists()
    found = marks_of(
        hostile(code), MILESTONES[3], schedules=0, picture=tmp_path / "pictures" / "4.html"
    )
    row = (HandIn("ann", {}), [found])
    assert "    [!] no picture: when the run was repeated to draw it, " in "\n".join(details([row]))


def test_a_teacher_gets_a_csv_and_a_page_for_each_hand_in(folder: Path, tmp_path: Path) -> None:
    (folder / "=eve").mkdir()
    (folder / "=eve" / "raft.py").write_text("")
    grades, pages = tmp_path / "grades.csv", tmp_path / "feedback"
    done = grade(folder, "--milestone", 1, "--schedules", 1, "--csv", grades, "--feedback", pages)
    assert done.returncode == 0, done.stderr
    rows = list(csv.reader(grades.read_text("utf-8").splitlines()))
    assert rows[0] == ["hand-in", "milestone 1", "sum", "problem"]
    assert rows[1:] == [
        ["'=eve", "0", "0", ""],
        ["ann", "10", "10", ""],
        ["bob", "0", "0", ""],
        ["eve", "0", "0", "there is no raft.py"],
    ]
    assert sorted(path.name for path in pages.iterdir()) == [
        "=eve.md",
        "ann.md",
        "bob.md",
        "eve.md",
    ]
    assert "10 of 10 points." in (pages / "ann.md").read_text("utf-8")
    bob = (pages / "bob.md").read_text("utf-8")
    assert "status 3" in bob
    assert "--only 'transcript 01-a-lone-server-leads' --trace" in bob
    assert "there is no raft.py" in (pages / "eve.md").read_text("utf-8")


def graded_until(
    stop: int, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> tuple[list[str], int]:
    """Grade without running anything, and interrupt before hand-in number `stop`; return the names
    of the hand-ins that were graded, and the exit status."""
    names: list[str] = []

    def marks_of_all(found: list[HandIn], numbers: list[int], typed: object) -> Iterator[Row]:
        for one in found:
            if len(names) == stop:
                raise KeyboardInterrupt
            names.append(one.name)
            yield one, [Marks(number, points=7) for number in numbers if not one.problem]

    monkeypatch.setattr(grading, "marks_of_all", marks_of_all)
    try:
        return names, grading.main(arguments)
    except KeyboardInterrupt:
        return names, 130


def test_interrupted_grading_resumes_with_kept_results(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Results from before an interruption are kept, and the rest is graded afterwards."""
    grades, pages = tmp_path / "grades.csv", tmp_path / "feedback"
    words = [str(folder), "--milestone", "1", "--csv", str(grades), "--feedback", str(pages)]
    assert graded_until(2, monkeypatch, words) == (["ann", "bob"], 130)
    printed = capsys.readouterr()
    assert "continue with --resume" in printed.err
    assert "bob        7      7" in printed.out
    begun = grades.read_text("utf-8")
    assert begun.splitlines()[1:] == ["ann,7,7,", "bob,7,7,"]
    assert sorted(path.name for path in pages.iterdir()) == ["ann.md", "bob.md"]
    grades.write_text(begun + "ev", encoding="utf-8")  # the power went, too
    assert graded_until(9, monkeypatch, [*words, "--resume"]) == (["eve"], 0)
    assert grades.read_text("utf-8").splitlines()[1:] == [
        "ann,7,7,",
        "bob,7,7,",
        "eve,0,0,there is no raft.py",
    ]
    assert capsys.readouterr().out.splitlines()[2:7] == [
        "hand-in    1    sum",
        "ann        7      7",
        "bob        7      7",
        "eve      there is no raft.py",
        "of        10     10",
    ]
    assert graded_until(9, monkeypatch, [*words, "--resume"]) == ([], 0)
    assert graded_until(9, monkeypatch, words)[0] == ["ann", "bob", "eve"]


@pytest.mark.parametrize("held", ["name,points\nann,7\n", "hand-in"])
def test_a_csv_of_other_milestones_is_not_resumed(folder: Path, tmp_path: Path, held: str) -> None:
    grades = tmp_path / "grades.csv"
    grades.write_text(held)
    done = grade(folder, "--milestone", 1, "--csv", grades, "--resume")
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not a table of these milestones. Nothing was graded" in done.stderr
    assert grades.read_text() == held


def test_an_archive_and_a_loose_file_get_a_row(folder: Path) -> None:
    for name in ("carol.zip", "loose.py", "grades.csv", ".hidden"):
        (folder / name).write_bytes(b"PK")
    found = {one.name: one.problem for one in handin.hand_ins_of(folder)}
    assert list(found) == ["ann", "bob", "carol.zip", "eve", "loose.py"]
    assert found["carol.zip"] == "it is an archive: unpack it into the folder carol"
    assert found["loose.py"] == "it is a file: put it into a folder of its own, as raft.py"


def test_a_hand_in_has_so_many_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each milestone has an equal part of them."""
    given: list[float | None] = []

    def marks_of(*_: object, seconds: float | None = None, **__: object) -> Marks:
        given.append(seconds)
        return Marks(1)

    monkeypatch.setattr(grading, "marks_of", marks_of)
    typed = grading.arguments_of([str(tmp_path), "--minutes", "6"])
    grading.mark((HandIn("ann", MODEL), 1, typed, 6 * 60 / 12))
    assert given == [30]
    found = judging.marks_of(MODEL, MILESTONES[0], schedules=3, seconds=-1)
    assert (found.points, len(found.failures)) == (0, 1)
    assert "its runs took more than" in found.first_failure


@pytest.mark.skipif(sys.platform != "linux", reason="names are UTF-8 there")
def test_a_name_outside_utf_8_holds_no_grade_back(folder: Path, tmp_path: Path) -> None:
    named = Path(os.fsdecode(os.fsencode(folder) + b"/M\xfcller"))
    named.mkdir()
    (named / "raft.py").write_text("")
    grades, pages = tmp_path / "grades.csv", tmp_path / "feedback"
    done = grade(folder, "--milestone", 1, "--schedules", 1, "--csv", grades, "--feedback", pages)
    assert (done.returncode, done.stderr) == (0, "")
    assert "M\\udcfcller    0      0\n" in done.stdout
    assert "M\\udcfcller,0,0," in grades.read_text("utf-8")
    assert (pages / "M\\udcfcller.md").exists()


def test_no_word_of_a_hand_in_harms_a_terminal_or_a_file(folder: Path, tmp_path: Path) -> None:
    bad = hostile("raise ValueError('\\x1b[2J120 points \\ud800')")["raft.py"]
    (folder / "bob" / "raft.py").write_text(bad)
    grades, pages = tmp_path / "grades.csv", tmp_path / "feedback"
    done = grade(folder, "--milestone", 1, "--schedules", 1, "--csv", grades, "--feedback", pages)
    assert (done.returncode, done.stderr) == (0, "")
    said = "ValueError: \\x1b[2J120 points \\ud800 (raft.py, line "
    assert said in done.stdout
    assert "\x1b" not in done.stdout
    assert said in (pages / "bob.md").read_text("utf-8")


def test_gradescope_gets_a_score_for_each_milestone(folder: Path, tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    done = grade(folder / "bob", "--milestone", 1, "--schedules", 1, "--gradescope", results)
    assert done.returncode == 0, done.stderr
    tests = json.loads(results.read_text("utf-8"))["tests"]
    assert [(one["score"], one["max_score"]) for one in tests] == [(0, 10)]
    assert "status 3" in tests[0]["output"]
    many = grade(folder, "--gradescope", results)
    assert (many.returncode, "holds 3 hand-ins" in many.stderr) == (2, True)


def test_one_run_is_traced_with_what_it_prints(tmp_path: Path) -> None:
    code = "print('I begin', '\\x1b[31m')\nNode.commit = lambda self: None"
    for path, text in hostile(code).items():
        (tmp_path / path).write_text(text, encoding="utf-8")
    done = grade(tmp_path, "--only", "01-its-own-disk-first", "--trace", "--pictures", tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert "s1 prints: I begin \\x1b[31m" in done.stdout
    assert "> hold disk s1" in done.stdout
    assert "    s1 appends 2 1 set a 1" in done.stdout
    assert "FAILED: transcript 01-its-own-disk-first: " in done.stdout
    assert (tmp_path / "run.html").exists()
    model_folder = write(MODEL, tmp_path / "model")
    seed = grade(model_folder, "--only", "seed 1002", "--trace")
    assert (seed.returncode, seed.stdout.splitlines()[-1]) == (0, "passed: seed 1002")
    assert "s1" in seed.stdout


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([SMALL, "--only", "seed 99"], "there is no run 'seed 99'"),
        ([SMALL, "--trace"], "--trace goes with --only"),
        (["nowhere"], "holds no hand-in"),
        ([".", "--milestone", "13"], "there are milestones 1 to 12"),
        ([".", "--jobs", "0"], "not a number from 1 on"),
        ([".", "--minutes", "0"], "not a number from 1 on"),
        ([".", "--resume"], "--resume goes with --csv"),
    ],
)
def test_what_is_mistyped_is_reported_in_a_line(given: list[object], says: str) -> None:
    done = grade(*given)
    assert done.returncode == 2
    assert says in done.stderr.splitlines()[-1]


def test_the_command_of_the_package_is_the_grader(folder: Path) -> None:
    words = [sys.executable, "-m", "raftline", "grade", str(folder / "eve")]
    done = subprocess.run(words, cwd=ROOT / "src", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "holds no hand-in" in done.stderr


# --- runs repeat, and the lock is closed ----------------------------------------------------


def test_a_seed_gives_the_same_run_whatever_sets_a_hand_in_uses() -> None:
    code = "from raft import Node\nclass Machine:\n    def execute(self, command):\n"
    code += "        return ' '.join({*command})\n"
    heard = []
    for _ in range(2):
        with Nursery({**MODEL, "machine.py": code}) as nursery, nursery.run() as run:
            heard.append(run.begin("s1").ask({"machine": ["set of letters"]})["replies"])
    assert heard[0] == heard[1]


def test_a_schedule_happens_the_same_way_again() -> None:
    one = MILESTONES[5]
    plan = plan_of(6003, 3, one.faults, one.given)
    ends = []
    for _ in range(2):
        with Nursery(MODEL) as nursery, nursery.run() as run:
            schedule = Schedule(6003, plan, run, timeouts=20)
            for _ in schedule.events():
                pass
            ends.append((schedule.world.now_ms, schedule.world.counts, schedule.world.trace()))
    assert ends[0] == ends[1]


def test_a_machine_that_refuses_the_lock_grades_nobody(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worker = tmp_path / "worker.py"
    text = servers.WORKER.read_text("utf-8")
    worker.write_text(text.replace("sandbox.lock()", 'raise OSError("seccomp: no")'))
    monkeypatch.setattr(servers, "WORKER", worker)
    with pytest.raises(CannotLock, match="seccomp: no"):
        marks(MODEL, 1)
    monkeypatch.setattr(grading, "marks_of_all", lambda *_: marks(MODEL, 1))
    grades = tmp_path / "grades.csv"
    grades.write_text("of last week")
    assert grading.main([str(SMALL), "--csv", str(grades)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "(seccomp: no), so none may run here" in printed.err
    assert grades.read_text() == "of last week"


def test_a_machine_without_a_lock_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox.sys, "platform", "darwin")
    assert sandbox.isolation().startswith("[!] only limits of time and memory")


def test_the_runs_of_a_milestone_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "MILESTONE_SECONDS", -1)
    found = marks(MODEL, 1, 15)
    assert found.points == 0
    assert "took more than" in found.first_failure
