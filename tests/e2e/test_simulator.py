"""`raftline simulate` with real servers: short trials, and what goes wrong before one."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pexpect
import pytest

from raftline.trial.verdict import PERFECT
from tests.e2e.proxy import LinkedCluster
from tests.e2e.wire import eventually

SOURCE = Path(__file__).resolve().parents[2] / "src"
SHORT = {
    "total execution time": 5, "only hb": 1, "stop requests": 1, "client requests": 90,
    "servers": 3, "number of clients": 3, "gp ratio": 0.5,
}  # fmt: skip
# How many are answered in time is this machine's business; that none is wrong, is ours.
NO_LIMITS = {
    "maximum unanswered fraction": 1, "maximum get reqs fraction": 1,
    "maximum put reqs fraction": 1, "maximum get create fail fraction": 1,
}  # fmt: skip


def simulate(
    folder: Path, wanted: dict[str, Any] | str | None, *options: str
) -> subprocess.CompletedProcess[str]:
    arguments = []
    if wanted is not None:
        path = folder / "metrics.json"
        path.write_text(wanted if isinstance(wanted, str) else json.dumps(wanted))
        arguments = [str(path)]
    return subprocess.run(
        [sys.executable, "simulator.py", *arguments, *options],
        cwd=SOURCE, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


# seed 001-01, seed 001-13, seed 001-16, seed 001-18, seed 001-20
def test_a_short_trial_with_a_killed_leader_reports_keeps_its_history_and_draws_a_page(
    tmp_path: Path,
) -> None:
    actions = [{"category": "fail leader", "trigger point": 2}]
    ended = simulate(
        tmp_path, {**SHORT, **NO_LIMITS, "actions": actions},
        "--history", str(tmp_path / "h.jsonl"), "--html", str(tmp_path / "p.html"),
        "--dir", str(tmp_path / "kept"),
    )  # fmt: skip
    assert ended.stderr == ""  # no bar where nobody watches
    assert ended.returncode == 0, ended.stdout
    lines = ended.stdout.splitlines()
    assert lines[0] == "Leaders:"
    assert "Servers that were failed by simulator: 1" in lines
    assert "Servers that crashed during execution: 0" in lines
    assert "Total get() with wrong get response: 0" in lines
    assert "Safety: kept: the history is linearizable, and no term had two leaders" in lines
    history = [json.loads(line) for line in (tmp_path / "h.jsonl").read_text().splitlines()]
    assert len(history) == 90
    assert {each["client"] for each in history} == {"0003", "0004", "0005"}
    unanswered = sum(each["outcome"] == "unanswered" for each in history)
    assert (PERFECT in lines) == (unanswered == 0)
    assert (tmp_path / "p.html").read_text().count("<svg") == 2
    assert (tmp_path / "kept" / "0000" / "s0000.log").exists()


# seed 001-13, seed 001-20
def test_after_partitions_losses_a_pause_and_a_restart_nothing_was_wrong(tmp_path: Path) -> None:
    actions = [
        {"category": "part hard", "trigger point": 1.5, "seconds": 1},
        {"category": "drop", "trigger point": 3, "fraction": 0.2, "seconds": 1},
        {"category": "fail_follower", "trigger point": 3.5},
        {"category": "pause", "trigger point": 4, "server": "leader", "seconds": 0.7},
        {"category": "restart", "trigger point": 5},
    ]
    more = {"total execution time": 8, "shared keys": 5, "actions": actions}
    ended = simulate(tmp_path, {**SHORT, **NO_LIMITS, **more})
    assert ended.returncode == 0, ended.stdout
    for said in ("were cut off from", "all servers reach each other again", "was started again",
                 "20% of all lines between servers are lost", "was paused for 0.7 s"):  # fmt: skip
        assert said in ended.stdout


# seed 001-17, seed 001-21
def test_a_server_that_ends_by_itself_is_a_crash_and_no_trial_is_perfect_with_it(
    tmp_path: Path,
) -> None:
    server = tmp_path / "mine.py"
    server.write_text(
        "import os, pathlib, runpy, sys, threading\n"
        "def end_with_the_first_put():\n"
        "    while b'set ' not in pathlib.Path(sys.argv[4], 's0002.log').read_bytes():\n"
        "        threading.Event().wait(0.05)\n"
        "    os._exit(9)\n"
        "if sys.argv[1] == 's0002':\n"
        "    threading.Timer(1, end_with_the_first_put).start()\n"
        f"sys.path.insert(0, {str(SOURCE)!r})\n"
        f"runpy.run_path({str(SOURCE / 'server.py')!r}, run_name='__main__')\n"
    )
    ended = simulate(tmp_path, {**SHORT, "server code": "mine.py"})
    assert ended.returncode == 1
    assert "Servers that crashed during execution: 1" in ended.stdout
    assert "Servers that were failed by simulator: 0" in ended.stdout
    assert "Service: BROKEN: 1 server crashed: 0002 (exit status 9)" in ended.stdout
    assert PERFECT not in ended.stdout


# seed 001-09
def test_a_leader_whose_tenure_is_over_hands_over(tmp_path: Path) -> None:
    ended = simulate(tmp_path, {**SHORT, **NO_LIMITS, "leader_tenure": 1})
    assert ended.returncode == 0, ended.stdout
    assert "'s tenure is over" in ended.stdout
    leaders = re.findall("'([0-9]{4})'", ended.stdout.splitlines()[1])
    # One that stood still for a while may be found to lead on.
    assert any(one != next_one for one, next_one in itertools.pairwise(leaders))


# seed 001-12
def test_more_messages_than_max_packets_end_the_trial(tmp_path: Path) -> None:
    ended = simulate(tmp_path, {**SHORT, "max packets": 50})
    assert ended.returncode == 1
    assert "more than 50 messages (max packets)" in ended.stdout
    assert PERFECT not in ended.stdout


# seed 001-06
def test_a_follower_without_a_leader_keeps_a_request_until_it_hears_of_one(tmp_path: Path) -> None:
    with LinkedCluster(tmp_path, 3) as cluster:
        cluster.start()
        follower = cluster.followers()[0]
        links = cluster.around(follower)
        for link in links:
            link.stall()
        eventually(lambda: follower.status().get("leader", "") is None, "no leader known")
        with follower.connect() as conversation:
            conversation.send("c0005#1@get lamp")
            for link in links:
                link.heal()
            reply = conversation.read_line()
    assert re.search(r"#1@Sorry, I am not the leader\. Last leader I heard from is: s\d", reply)


@pytest.mark.parametrize(
    ("wanted", "options", "said"),
    [
        ({"servers": 0}, [], "metrics.json: servers is 0; it must be"),
        ("{", [], "metrics.json:1: is no JSON"),
        (None, ["nowhere.json"], "nowhere.json: can't be read: No such file or directory"),
        (SHORT, ["--html", "/nowhere/p.html"], "/nowhere/p.html: can't be written: No such file"),
        (SHORT, ["--dir", str(SOURCE)], "is not empty, and a trial begins with nothing"),
        ({"server code": "metrics.json"}, [], "ended with exit status 0 before it had answered"),
    ],
)
def test_what_can_not_begin_is_one_line_and_exit_2(
    tmp_path: Path, wanted: dict[str, Any] | str | None, options: list[str], said: str
) -> None:
    ended = simulate(tmp_path, wanted, *options)
    assert (ended.returncode, ended.stdout) == (2, "")
    [line] = ended.stderr.splitlines()
    assert line.startswith("raftline simulate: ")
    assert said in line


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        if port > 65_000:
            pytest.skip("the port is beyond what --base-port takes")
        ended = simulate(tmp_path, SHORT, "--base-port", str(port))
    assert ended.returncode == 2
    assert f"port {port} is in use; take others with --base-port" in ended.stderr


def test_on_a_terminal_a_bar_shows_how_far_it_is_and_ctrl_c_leaves_no_server(
    tmp_path: Path,
) -> None:
    path = tmp_path / "m.json"
    path.write_text(json.dumps(SHORT))
    kept = tmp_path / "kept"
    child = pexpect.spawn(
        sys.executable, [str(SOURCE / "simulator.py"), str(path), "--dir", str(kept)],
        encoding="utf-8", timeout=30,
    )  # fmt: skip
    child.expect(r"\[#+\.+\] +\d+/5 s  leader 000\d")
    child.kill(signal.SIGINT)
    child.expect("interrupted; every server has been stopped")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    eventually(lambda: not _processes_of(kept), "no server left")


def _processes_of(folder: Path) -> list[str]:
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            command = (each / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(folder) in command and int(each.name) != os.getpid():
            found.append(command)
    return found
