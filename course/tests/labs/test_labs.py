"""The labs' hand-outs: bugs that can still be put in, and programs that say what was mistyped.
The labs' own checkers prove them with real nodes."""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from labs import checking
from labs.availability.runs import PrintedReport
from labs.bugs import patching, play
from labs.bugs.check import HARM
from labs.checking import Rows, StopSignal, end_with, expect
from labs.replicas import lab
from raftline_testing.runner.at_night import at_night
from raftline_testing.runner.tree_copy import copy_sources

pytestmark = pytest.mark.slow  # most start programs of the labs


def fill(folder: Path) -> Path:
    return copy_sources(folder)


def patch_of(number: int) -> Path:
    return play.HERE / f"bug-{number:02}.patch"


def missing_from_answer(number: int) -> list[str]:
    """Return what an answer does not name: the file, the rule, where the bug was found."""
    answer = " ".join(play.answer(number).split())
    file = re.search(r"^--- a/(\S+)", patch_of(number).read_text(), re.MULTILINE)
    assert file is not None
    rules, _, found = answer.partition("*There*: ")
    named = {
        "file": f"`{file[1]}`" in rules,
        "rule": re.search(r"§\d|Figure \d", rules),
        "place": re.search(r"00[0-4]|all five|004's family", found),
    }
    return [f"bug {number}: no {what}" for what, is_named in named.items() if not is_named]


def test_every_answer_names_the_file_the_rule_and_the_source() -> None:
    assert [what for number in play.BUGS for what in missing_from_answer(number)] == []


def test_no_hint_names_the_line_or_the_file() -> None:
    wrong = []
    for number in play.BUGS:
        changed = [
            line[1:].strip()
            for line in patch_of(number).read_text().splitlines()
            if line[:1] in "+-" and line[:3] not in ("+++", "---") and len(line[1:].strip()) > 8
        ]
        hints = [play.hint(number, which) for which in (1, 2)]
        if hints[0] == hints[1]:
            wrong.append(f"bug {number}: two equal hints")
        named = [text for text in (".py", *changed) if any(text in hint for hint in hints)]
        wrong += [f"bug {number}: {text!r}" for text in named]
    assert wrong == []


def test_repeated_lines_are_shown_once() -> None:
    refusals = "+s1 <- s3@Sorry\n+s1 <- s4@Sorry\n"
    text = f" > heal\n{refusals * 20} s1 waits\n s1 waits\n\n\n\n-s2 votes\n+s2 votes"
    assert play.folded(text) == (
        f" > heal\n{refusals}+… these 2 lines 19 times more\n s1 waits\n s1 waits\n\n"
        " … this line 2 times more\n-s2 votes\n+s2 votes"
    )


def test_transcript_of_bug_3_has_the_answer_of_its_hint() -> None:
    """The transcript of bug 3 has the answer that its hint asks for."""
    assert "\n> deliver s2\n" in play.script_of(3)
    assert "\ns1 <- s2@GiveEntriesAfterIndex 9 term 7" in play.script_of(3)


def play_bug(*typed: str) -> tuple[int, str, str]:
    """Return the exit status of play.py, and its output on both streams."""
    ran = subprocess.run(
        [sys.executable, play.HERE / "play.py", *typed],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in ran.stderr
    return ran.returncode, ran.stdout, ran.stderr


def test_a_student_s_way_from_a_bug_to_its_answer(tmp_path: Path) -> None:
    status, said, _ = play_bug("1")
    assert status == 1
    assert "+client1 <- s1@SET response: a set to 1" in said.splitlines()
    assert "--hint" in said
    assert play_bug("1", "--hint") == (0, play.hint(1, 1) + "\n", "")
    assert play_bug("1", "--hint", "2") == (0, play.hint(1, 2) + "\n", "")
    status, said, _ = play_bug("1", "--copy", str(tmp_path))
    assert (status, said) == (0, f"{tmp_path / 'src'} holds the faulty program\n")
    assert play_bug("1", "--from", str(tmp_path))[0] == 1
    file = tmp_path / "src" / "raft" / "membership.py"
    file.write_text(file.read_text().replace("(len(voters) + 1) // 2", "len(voters) // 2 + 1"))
    status, said, _ = play_bug("1", "--from", str(tmp_path))
    assert (status, said.splitlines()[-2]) == (0, "Everything happens as it should.")
    assert play_bug("1", "--answer")[1].startswith("## 1 Two of four make a leader\n")


@pytest.mark.parametrize(
    "typed",
    [
        "7 --seed 1400 --simulate 100 --nodes 5 --fault isolate --fault depose",
        "12 --simulate 100",
        "22 --seed 1200 --simulate 100 --nodes 3 --fault 'lose log'",
    ],
)
def test_the_simulation_finds_rare_bugs_with_the_listed_options(typed: str) -> None:
    status, said, _ = play_bug(*shlex.split(typed))
    assert status == 1
    found = "^seed [0-9]+: (InvariantError: |AssertionError: history of )"
    assert re.search(found, said, re.MULTILINE)
    options = re.split("--simulate [0-9]+", typed)[1]
    assert options.strip() in play.HERE.parent.joinpath("solutions", "bugs.md").read_text()


def test_replay_line_of_a_failed_schedule_plays_the_bug(tmp_path: Path) -> None:
    """The line to see a failed schedule again plays it with the bug."""
    status, said, _ = play_bug(*shlex.split("6 --simulate 20 --nodes 3"))
    again = re.search(r"^see it again: python3 \S+/play\.py (.*)$", said, re.MULTILINE)
    assert (status, again is not None) == (1, True), said
    assert again is not None
    broken = re.findall("^seed .*", said, re.MULTILINE)
    assert broken
    status, said, _ = play_bug(*shlex.split(again[1]))
    assert status == 1
    assert re.findall("^seed .*", said, re.MULTILINE) == broken
    copy = tmp_path / "a copy"
    assert play_bug("6", "--copy", str(copy))[0] == 0
    said = play_bug("6", "--from", str(copy), "--simulate", "20")[1]
    assert f" 6 --from '{copy}' --simulate 1 --seed " in said


def test_a_copy_that_does_not_run_or_end_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = play.copy_with_bug(1, tmp_path)
    file = copy / "raft" / "membership.py"
    sound = file.read_text()
    file.write_text(sound + "\ndef (\n")
    assert play.happens(play.script_of(1), copy).startswith("!! This program does not run:\n")
    file.write_text(sound + "\nwhile True:\n    pass\n")
    monkeypatch.setattr(play, "PLAY_SECONDS_MAX", 0.5)
    said = play.happens(play.script_of(1), copy)
    assert said == "!! It does not come to an end within 0.5 seconds.\n"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["0"], "there is no bug '0', only 1 to 24"),
        (["four"], "there is no bug 'four', only 1 to 24"),
        (["1", "--simulate", "-3"], "'-3' is not a number of seeds, 1 to 9"),
        (["1", "--simulate", "9", "--fault", "rain"], "--fault: invalid choice: 'rain'"),
        (["1", "--simulate", "9", "--nodes", "9"], "--nodes: invalid choice: 9"),
        (["1", "--fault", "kill"], "--fault, --nodes and --seed are for --simulate"),
        (["1", "--seed", "7"], "--fault, --nodes and --seed are for --simulate"),
        (["1", "--simulate", "9", "--seed", "x"], "'x' is not a seed, 0 to 9"),
        (["1", "--hint", "3"], "invalid choice: 3"),
        (["1", "--without", "--copy", "x"], "not allowed with argument"),
        (["1", "--copy", str(play.ROOT)], "exists already; nothing was changed"),
        (["1", "--copy", str(play.SOURCES)], "lies within raftline itself; nothing was changed"),
        (["1", "--copy", str(play.SOURCES / "raft")], "lies within raftline itself"),
    ],
)
def test_impossible_options_for_a_bug_are_refused(typed: list[str], said: str) -> None:
    before = sorted(play.SOURCES.rglob("*.py"))
    status, _, why = play_bug(*typed)
    assert (status, said in why) == (2, True), why
    assert sorted(play.SOURCES.rglob("*.py")) == before


def test_an_outdated_patch_is_named_with_its_missing_line(tmp_path: Path) -> None:
    sources = fill(tmp_path)
    (sources / "raft" / "log.py").write_text("")
    with pytest.raises(patching.DoesNotApply, match=r"bug-07\.patch does not fit src/raft/log\.py"):
        patching.apply_patch(play.HERE / "bug-07.patch", sources)


@pytest.mark.parametrize(
    "number", [*play.BUGS[::8], *at_night(*play.BUGS[1:8], *play.BUGS[9:16], *play.BUGS[17:])]
)
def test_a_transcript_fails_with_its_bug_and_passes_without_it(number: int, tmp_path: Path) -> None:
    script = play.script_of(number)
    assert play.difference(script, play.happens(script, play.SOURCES)) == ""
    faulty = play.happens(script, play.copy_with_bug(number, tmp_path))
    for harm in HARM[number]:
        assert harm in faulty
        assert harm not in script


RUN_2 = """Leaders:
['unkown', '0003', 'unkown', '0001', 'unkown', '0002']
Servers that were failed by simulator: 2
   0.00 s  no leader is known
   0.54 s  0003 leads
   8.02 s  0003 was killed
   8.03 s  no leader is known
   8.08 s  0001 leads
  16.02 s  0001 was killed
  16.02 s  no leader is known
  16.06 s  0002 leads
"""
TAKEOVER = "took over from 0003, after 0.{} s in which no quorum had heard of 0003"


def test_simulator_checker_finds_kills_and_elections() -> None:
    """The simulator's checker finds kills, successions and unwanted elections."""
    asked_for = PrintedReport(RUN_2)
    assert asked_for.successions == [("0003", "0001"), ("0001", "0002")]
    assert [round(each, 2) for each in asked_for.lateness_s] == [0.02, 0.02]
    assert asked_for.only_silence_elected
    assert asked_for.count("Servers that were failed") == 2
    # The machine held 0003 up, and 0004 was killed in its place.
    instead = f"   7.50 s  0004 leads\n   7.50 s  0004 {TAKEOVER}\n   8.02 s  0004 was killed"
    busy = RUN_2.replace("   8.02 s  0003 was killed", instead)
    assert PrintedReport(busy.format(71)).successions == [("0004", "0001"), ("0001", "0002")]
    assert PrintedReport(busy.format(71)).only_silence_elected
    assert not PrintedReport(busy.format(40)).only_silence_elected


@pytest.mark.parametrize(
    ("printed", "instead"),
    [
        ("   8.03 s  no leader is known\n", ""),  # nobody saw that it was gone
        ("   8.02 s  0003 was killed", "   8.02 s  0004 was killed"),  # not the leader
        ("   8.08 s  0001 leads", "   8.08 s  0003 leads"),  # the dead one leads on
    ],
)
def test_a_checker_takes_no_other_change_for_a_succession(printed: str, instead: str) -> None:
    assert len(PrintedReport(RUN_2.replace(printed, instead)).successions) < 2


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (
            ["labs", "LABS=one other"],
            ["there is no lab one; ", "there is no lab other; ",
             "these labs failed: lab-one lab-other"],
        ),
        (["lab-7"], ["there is no lab 7; course/labs/README.md lists them"]),
        (["lab-1", "PY=nowhere", "PYTHON=false"], ["a lab needs Python 3.10 or newer, and 'f"]),
    ],
)  # fmt: skip
def test_make_names_the_failed_labs_and_the_unknown_ones(typed: list[str], said: list[str]) -> None:
    ran = subprocess.run(
        ["make", "-C", "course", *typed],
        cwd=play.ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 2
    lines = [line for line in ran.stderr.splitlines() if not line.startswith("make")]
    assert [line[: len(wanted)] for line, wanted in zip(lines, said, strict=True)] == said


def test_checker_fails_on_failed_and_untried_rows(capsys: pytest.CaptureFixture[str]) -> None:
    """A checker fails for a row that failed and for one never tried."""
    rows = Rows("x-1", "x-2", "x-3")
    with rows.row("x-1", what="holds"):
        expect("some text", "text")
    with rows.row("x-2", what="does not"):
        expect("some text", "other")
    assert rows.finish() == 1
    assert capsys.readouterr().out.splitlines()[:3] == [
        "ok x-1 holds",
        "FAILED x-2 does not: 'other' is not in 'some text'",
        "FAILED x-3 it was never tried",
    ]


@pytest.mark.parametrize(
    ("program", "arguments", "said"),
    [
        ("bugs/play.py", ["1", "--from", "nowhere"], "is not there; make a copy with --copy DIR"),
        ("repair/gateway.py", ["node9", "18000"], "names no node9"),
        ("repair/gateway.py", ["node1", "99999"], "can't listen on localhost port 99999"),
        ("repair/gateway.py", ["node1"], "the following arguments are required: port"),
        ("repair/node.py", ["node9"], "names no node9; it names node1, node2, node3"),
        ("repair/client.py", ["--config", "nowhere"], "client.py: nowhere: is missing"),
    ],
)
def test_a_lab_program_names_the_mistyped_argument(
    program: str, arguments: list[str], said: str, tmp_path: Path
) -> None:
    script = play.ROOT / "course" / "labs" / program
    ran = subprocess.run(
        [sys.executable, script, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 2
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("problem", "status", "said"),
    [
        (KeyboardInterrupt(), 130, "lab.py: interrupted\n"),
        (StopSignal(15), 143, ""),
        (FileNotFoundError(2, "No such file", "x"), 1, "lab.py: [Errno 2] No such file: 'x'\n"),
    ],
)
def test_a_lab_program_reports_its_failure_in_one_line(
    problem: BaseException,
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def main() -> int:
        raise problem

    monkeypatch.setattr(checking, "STOP_SIGNALS", ())  # pytest's are left as they are
    monkeypatch.setattr(sys, "argv", ["course/labs/lab.py"])
    with pytest.raises(SystemExit) as end:
        end_with(main)
    assert (end.value.code, capsys.readouterr().err) == (status, said)


def test_clean_removes_all_files_of_lab_nodes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left = ["node1.log", "node1.lock", "node3.state_machine.tmp", ".node1.born"]
    for name in (*left, "mine.txt"):
        (tmp_path / name).touch()
    assert lab.clean(tmp_path) == 0
    assert capsys.readouterr().out == f"removed {len(left)} files\n"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_stop_ends_a_starting_node_and_no_other_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`stop` ends a node that is still starting, and no other process."""
    killed: list[tuple[int, int]] = []
    with (tmp_path / "node1.lock").open("w+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # and the process behind it is not yet written there
        assert lab.running(tmp_path) == {"node1": 0}

        def says_who_it_is(_: float) -> None:
            lock.write(f"{os.getpid()}\n")
            lock.flush()

        def kill(process: int, number: int) -> None:
            killed.append((process, number))
            fcntl.flock(lock, fcntl.LOCK_UN)

        monkeypatch.setattr(lab.time, "sleep", says_who_it_is)
        monkeypatch.setattr(lab.os, "kill", kill)
        lab.stop(tmp_path)
    assert killed == [(os.getpid(), signal.SIGTERM)]
    assert capsys.readouterr().out == "stopped: node1\n"
    lab.stop(tmp_path)
    assert capsys.readouterr().out == "stopped: nothing ran\n"


@pytest.mark.parametrize(("typed", "nodes"), [([], ["3"]), (["--nodes", "5"], ["5"])])
def test_figure_8_is_not_looked_for_in_a_lone_server(
    monkeypatch: pytest.MonkeyPatch, typed: list[str], nodes: list[str]
) -> None:
    given: list[str] = []
    monkeypatch.setattr(play, "simulate", lambda _, options, *__: given.extend(options) or 0)
    monkeypatch.setattr(sys, "argv", ["play.py", "6", "--simulate", "20", *typed])
    assert play.main() == 0
    assert given[given.index("--nodes") + 1 :] == nodes
