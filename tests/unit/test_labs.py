"""What the labs hand out: bugs that can still be put in, words that are still said, a menu and a
door that do what they say. The labs' own checkers prove them with real nodes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from labs.bugs import play
from labs.bugs.check import BAD
from labs.checking import Rows, end_with, expect
from labs.failures import client
from labs.failures.actions import Lab, LabError
from labs.failures.gateway import Gateway
from labs.failures.words import Words
from raftline.client import OutcomeUnknown
from raftline.config import Address

MEMBERS = {f"node{n}": Address("localhost", 16999 + n) for n in (1, 2, 3)}


def fill(folder: Path) -> Path:
    copy = folder / "src"
    shutil.copytree(play.SOURCES, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.mark.parametrize("number", play.BUGS)
def test_every_bug_can_be_put_in(number: int, tmp_path: Path) -> None:
    sources = fill(tmp_path)
    play.apply_patch(play.HERE / f"bug-{number:02}.patch", sources)
    changed = [
        path
        for path in sources.rglob("*.py")
        if path.read_bytes() != (play.SOURCES / path.relative_to(sources)).read_bytes()
    ]
    assert len(changed) == 1


def test_a_patch_that_was_outgrown_is_named_with_what_it_misses(tmp_path: Path) -> None:
    sources = fill(tmp_path)
    (sources / "raft" / "log.py").write_text("")
    with pytest.raises(play.DoesNotApply, match=r"bug-07\.patch does not fit src/raft/log\.py"):
        play.apply_patch(play.HERE / "bug-07.patch", sources)


# One of cores, one of files, and the one that takes the longest way to its harm.
@pytest.mark.parametrize("number", [1, 6, 14])
def test_a_bug_does_its_harm_and_without_it_there_is_none(number: int, tmp_path: Path) -> None:
    script = play.script_of(number)
    assert play.difference(script, play.happens(script, play.SOURCES)) == ""
    faulty = play.happens(script, play.copy_with_bug(number, tmp_path))
    for harm in BAD[number][1:]:
        assert harm in faulty
        assert harm not in script


# seed 003-03, seed 003-04, seed 003-05, seed 003-06, seed 003-09, seed 003-10, seed 003-16
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("[*] Current term: 0", "node1 log file not found. Starting with an empty log."),
        (
            "[*] Server started on ('localhost', 17000) with timeout 0.8 seconds",
            "node1 is listening on localhost:17000\ntime out set for node1 to 0.8",
        ),
        (
            "[*] Heard from no leader: asking for PreVotes for term 3\n[*] Starting election...",
            "node1 timeout, starting election.\nnode1 is requesting votes for term 3",
        ),
        ("[*] node1 gives its vote to node2 for term 1", "node1 voted for node2 for term 1"),
        (
            "[*] node1 denies its vote to node2 for term 3: term 3 is over, I am in term 4",
            "Vote denied for node2: candidate's term 3 is less than current term 4",
        ),
        (
            "[*] node1 denies its vote to node2 for term 5: log not up to date: it ends at 2 of "
            "term 1, mine at 3 of term 2",
            "Vote denied for node2: candidate's log is not up-to-date (it ends at 2 of term 1, "
            "mine at 3 of term 2)",
        ),
        (
            "[*] node1 denies its vote to node2 for term 5: already voted for node3 in term 5",
            "Vote denied for node2: already voted for node3 in term 5",
        ),
        ("[*] I am Leader", "node1 is now the leader."),
        (
            "[*] I am Follower of node3 in term 3",
            "node1 switching to follower due to received heartbeat.",
        ),
        (
            "[*] node1 ignored AppendEntries from node2: term 1 < 2",
            "node1 ignored heartbeat with lower term 1.",
        ),
        ("Last log: 6 2 lab-5#1@set value 77", "node1: Appended entry at index 6: 2,77"),
        (
            "[*] Received from node2 : I am up to date term 2 index 6 round 9",
            "Successfully updated node2 up to index 6.",
        ),
        (
            "[*] node1: its controller says SKIP-REPLICATION on",
            "Replication failure simulation enabled on node1.",
        ),
        (
            "[*] node1: its controller says HEARTBEAT 20s",
            "node1 heartbeat interval set to 20.0 seconds.",
        ),
        ("[*] node1: server is shutting down.", "node1 server is shutting down."),
        ("[*] node1: has shut down cleanly.", "node1 has shut down cleanly."),
        ("{'node1': True, 'node2': True}", "{'node1': True, 'node2': True}"),
    ],
)
def test_a_node_s_line_in_the_words_of_the_course_s_program(ours: str, theirs: str) -> None:
    words = Words("node1", has_log=False)
    assert "\n".join(said for line in ours.splitlines() for said in words.of(line)) == theirs


class PlayedLab(Lab):
    """A lab whose nodes are this test: it notes what they are asked, and answers as told."""

    def __init__(self, *answers: str) -> None:
        self.said: list[str] = []
        super().__init__(MEMBERS, self.said.append)
        self.asked: list[str] = []
        self.answers = list(answers)
        self.led_by = "node1"

    def ask(self, name: str, command: str, sender: str = "lab", timeout_s: float = 20.0) -> str:
        self.asked.append(f"{name} <- {sender}@{command}")
        return self.answers.pop(0) if self.answers else "done"

    def status(self, name: str) -> dict[str, Any]:
        role = "leader" if name == self.led_by else "follower"
        ends = dict.fromkeys(("last_index", "commit_index", "last_applied"), 7)
        return {"name": name, "role": role, "leader": self.led_by, "term": 2, **ends}

    def order(self, name: str, verb: str) -> str:
        if verb == "HEARTBEAT 20s":
            self.led_by = "node3"
        return super().order(name, verb)

    def submit(self, value: str, at: str) -> str:
        self.said.append(f"{value} to {at}")
        if value == "doubtful":
            raise OutcomeUnknown("outcome unknown")
        return self.led_by


# seed 003-02
def test_the_door_says_each_call_as_a_line() -> None:
    lab = PlayedLab(
        "Count on me term 3", "Not this time term 3: …", "I am up to date term 3 index 2"
    )
    door = Gateway(lab, "node1")
    assert door.vote("node2", 3, 2, 4) is True
    assert door.vote("node3", 3, 2, 4) is False
    assert door.receive_append_entries(3, -1, 0, ["2,44", "3,7,7"], 0, "node2") is True
    assert door.receive_heartbeat(4) is False
    entries = (
        '[{"index": 1, "term": 2, "command": "set value 44"}, '
        '{"index": 2, "term": 3, "command": "set value 7,7"}]'
    )
    assert lab.asked == [
        "node1 <- node2@RequestVote 3-5-2",
        "node1 <- node3@RequestVote 3-5-2",
        f"node1 <- node2@AppendEntries 3-0-0-{entries} commit 1 round 0",
        "node1 <- node2@AppendEntries 4-0-0-[] commit 0 round 0",
    ]


# seed 003-02, seed 003-11
def test_the_door_tells_success_only_of_what_is_certain() -> None:
    door = Gateway(PlayedLab(), "node2")
    assert door.submit_value(44) is True
    assert door.submit_value("doubtful") is False
    assert (door.is_leader(), door.get_heartbeat_interval()) == (False, 0.1)


# seed 003-02
def test_the_door_gives_orders_and_says_which_were_refused() -> None:
    lab = PlayedLab("done", "done", "done", "Sorry, only Controller gives orders")
    door = Gateway(lab, "node1")
    assert door.set_heartbeat_interval(20.0) is True
    assert door.set_heartbeat_interval(0.1) is True
    assert door.set_replication_simulation(True) is True
    assert door.delete_log_file() is False
    assert [line.removeprefix("node1 <- Controller@") for line in lab.asked] == [
        "HEARTBEAT 20000ms", "HEARTBEAT normal", "SKIP-REPLICATION on", "DELETE-LOG",
    ]  # fmt: skip


# seed 003-08
def test_choice_1_says_the_interval_the_reset_and_the_new_leader() -> None:
    lab = PlayedLab()
    assert client.Session(lab, 20.0).choose("1")
    assert lab.said == [
        "Heartbeat interval temporarily set to 20.0 seconds on localhost:17000",
        "Heartbeat interval reset to original value of 0.1 seconds on localhost:17000",
        "Leader changed: New leader found at localhost:17002 (node3)",
    ]
    assert lab.asked == [
        "node1 <- Controller@HEARTBEAT 20s", "node1 <- Controller@HEARTBEAT normal",
    ]  # fmt: skip


# seed 003-07, seed 003-11
def test_choice_2_asks_each_node_in_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = iter(["44", "77", "66", "88", ""])
    monkeypatch.setattr(client, "ask", lambda prompt: next(typed))
    lab = PlayedLab()
    client.Session(lab, 20.0).choose("2")
    assert lab.said == ["44 to node1", "77 to node2", "66 to node3", "88 to node1"]


# seed 003-07
def test_the_menu_names_its_choices_and_ends_at_exit(capsys: pytest.CaptureFixture[str]) -> None:
    for number, words in enumerate(
        ("restart election", "all nodes through leader", "only leader", "delete the log"), start=1
    ):
        assert re.search(rf'{words}.* enter "{number}"', client.MENU)
    session = client.Session(PlayedLab(), 20.0)
    assert session.choose("exit") is False
    assert session.choose("7") is True
    assert "'7' is none of" in capsys.readouterr().out


def test_an_order_that_is_refused_is_told_in_one_line() -> None:
    with pytest.raises(LabError, match="node1 refused DELETE-LOG: Sorry, no"):
        PlayedLab("Sorry, no").order("node1", "DELETE-LOG")


def test_a_checker_fails_for_a_row_that_failed_and_for_one_never_tried(
    capsys: pytest.CaptureFixture[str],
) -> None:
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
        ("failures/gateway.py", ["node9", "18000"], "names no node9"),
        ("failures/gateway.py", ["node1", "99999"], "port: '99999' is no port"),
    ],
)
def test_a_lab_s_program_says_what_was_mistyped(
    program: str, arguments: list[str], said: str, tmp_path: Path
) -> None:
    script = play.ROOT / "labs" / program
    ran = subprocess.run(
        [sys.executable, script, *arguments],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 2
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("problem", "status", "said"),
    [
        (KeyboardInterrupt(), 130, "lab.py: interrupted\n"),
        (FileNotFoundError(2, "No such file", "x"), 1, "lab.py: [Errno 2] No such file: 'x'\n"),
    ],
)
def test_a_lab_s_program_says_in_a_line_why_it_ended(
    problem: BaseException,
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def main() -> int:
        raise problem

    monkeypatch.setattr(sys, "argv", ["labs/lab.py"])
    with pytest.raises(SystemExit) as end:
        end_with(main)
    assert (end.value.code, capsys.readouterr().err) == (status, said)
