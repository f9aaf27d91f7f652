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
from typing import Any, cast

import pexpect
import pytest

from raftline_course.trial.servers import Servers, ServersNotStarted
from raftline_course.trial.verdict import PERFECT
from raftline_testing.doubles.in_process import raftline
from raftline_testing.nodes.at_work import processes_of
from raftline_testing.nodes.processes import eventually
from raftline_testing.nodes.proxy import LinkedCluster, Network

SOURCE = Path(__file__).resolve().parents[3] / "src"
SHORT = {
    "total execution time": 5, "only hb": 1, "stop requests": 1, "client requests": 90,
    "servers": 3, "number of clients": 3, "gp ratio": 0.5,
}  # fmt: skip
BRIEF = {"total execution time": 3, "client requests": 50}
# How many are answered in time is this machine's business; that none is wrong, is ours.
NO_LIMITS = {
    "maximum unanswered fraction": 1, "maximum get reqs fraction": 1,
    "maximum put reqs fraction": 1, "maximum get create fail fraction": 1,
}  # fmt: skip


def simulate(
    folder: Path, wanted: dict[str, Any], *options: str
) -> subprocess.CompletedProcess[str]:
    path = folder / "metrics.json"
    path.write_text(json.dumps(wanted))
    return subprocess.run(
        [sys.executable, "simulator.py", str(path), *options],
        cwd=SOURCE,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_trial_with_a_killed_leader_reports_and_draws_a_page(tmp_path: Path) -> None:
    """A short trial with a killed leader reports, and draws a page."""
    actions = [{"category": "fail leader", "trigger point": 2}]
    ended = simulate(
        tmp_path,
        {**SHORT, **NO_LIMITS, "actions": actions},
        "--history",
        str(tmp_path / "h.jsonl"),
        "--html",
        str(tmp_path / "p.html"),
        "--dir",
        str(tmp_path / "kept"),
    )
    assert ended.stderr == ""  # no bar where nobody watches
    assert ended.returncode == 0, ended.stdout
    lines = ended.stdout.splitlines()
    assert lines[0] == "Leaders:"
    assert "Servers that were failed by simulator: 1" in lines
    assert "Servers that crashed during execution: 0" in lines
    assert "Total get() with wrong get response: 0" in lines
    assert "'s tenure is over" not in ended.stdout  # nobody has to go
    assert "Safety: kept: the history is linearizable, and no term had two leaders" in lines
    history = [json.loads(line) for line in (tmp_path / "h.jsonl").read_text().splitlines()]
    assert len(history) == 90
    assert {each["client"] for each in history} == {"0003", "0004", "0005"}
    unanswered = sum(each["outcome"] == "unanswered" for each in history)
    assert (PERFECT in lines) == (unanswered == 0)
    assert (tmp_path / "p.html").read_text().count("<svg") == 2
    assert (tmp_path / "kept" / "0000" / "s0000.log").exists()


def test_trial_with_all_faults_is_safe(tmp_path: Path) -> None:
    """A trial with partitions, losses, a pause and a restart is safe."""
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
    for said in (
        "was cut off from",
        "all servers reach each other again",
        "was started again",
        "20% of all lines between servers are lost",
        "was paused for 0.7 s",
    ):
        assert said in ended.stdout
    assert re.search(r"Messages between servers: [0-9]+, lost: [1-9]", ended.stdout)


def test_server_that_exits_by_itself_is_a_crash(tmp_path: Path) -> None:
    """A server that ends by itself is a crash and no trial is perfect with it."""
    server = tmp_path / "mine.py"
    server.write_text(
        "import os, pathlib, runpy, sys, threading\n"
        "def end_with_the_first_put():\n"
        "    log = pathlib.Path(sys.argv[4], 's0002.log')\n"
        "    while not log.exists() or b'set ' not in log.read_bytes():\n"
        "        threading.Event().wait(0.05)\n"
        "    print('[!] my disk is full', flush=True)\n"
        "    print('[*] shutting down', flush=True)\n"
        "    os._exit(9)\n"
        "if sys.argv[1] == 's0002':\n"
        "    threading.Thread(target=end_with_the_first_put, daemon=True).start()\n"
        f"sys.path.insert(0, {str(SOURCE)!r})\n"
        f"runpy.run_path({str(SOURCE / 'server.py')!r}, run_name='__main__')\n"
    )
    ended = simulate(tmp_path, {**SHORT, **BRIEF, "server code": "mine.py"})
    assert ended.returncode == 1
    assert "Servers that crashed during execution: 1" in ended.stdout
    assert "Servers that were failed by simulator: 0" in ended.stdout
    said = "0002 ended by itself (exit status 9); its last line: [!] my disk is full"
    assert said in ended.stdout
    assert "Service: BROKEN: 1 server crashed: 0002 (exit status 9)" in ended.stdout
    assert PERFECT not in ended.stdout


def test_a_leader_whose_tenure_is_over_hands_over(tmp_path: Path) -> None:
    ended = simulate(tmp_path, {**SHORT, **NO_LIMITS, "leader_tenure": 1})
    assert ended.returncode == 0, ended.stdout
    assert "'s tenure is over" in ended.stdout
    leaders = re.findall("'([0-9]{4})'", ended.stdout.splitlines()[1])
    # One that stood still for a while may be found to lead on.
    assert any(one != next_one for one, next_one in itertools.pairwise(leaders))
    assert re.search("took over from [0-9]{4}, after [0-9.]+ s in which no quorum", ended.stdout)


def test_more_messages_than_max_packets_end_the_trial(tmp_path: Path) -> None:
    ended = simulate(tmp_path, {**SHORT, "max packets": 50}, "--json")
    assert ended.returncode == 1
    assert json.loads(ended.stdout)["service"] == "broken"
    assert "more than 50 messages (max packets)" in ended.stdout
    assert PERFECT not in ended.stdout


def test_follower_keeps_a_request_until_it_hears_of_a_leader(tmp_path: Path) -> None:
    """A follower without a leader keeps a request until it hears of one."""
    with LinkedCluster(tmp_path, 3) as cluster:
        cluster.start()

        def reply() -> str:
            """Return what is answered in the end; "" where it heard of no leader for too long."""
            follower = cluster.followers()[0]
            cluster.block(cluster.around(follower))
            eventually(lambda: follower.status().get("leader", "") is None, "no leader known")
            with follower.connect() as conversation:
                conversation.send("c0005#1@get lamp")
                cluster.heal()
                text = conversation.read_line()
            return "" if "I know of no leader" in text else text

        said = eventually(reply, "an answer that was kept")
    assert re.search(r"#1@Sorry, I am not the leader\. Last leader I heard from is: s\d", said)


@pytest.mark.parametrize(
    ("wanted", "options", "said"),
    [
        ({"servers": 0}, [], "metrics.json: servers is 0; it must be"),
        ("{", [], "metrics.json:1: is not JSON"),
        (None, ["nowhere.json"], "nowhere.json: can't be read: No such file or directory"),
        (None, [""], "METRICS: the name is empty"),
        (SHORT, ["--history", ""], "--history: the name is empty"),
        (
            SHORT,
            ["--html", "/nowhere/a", "--history", "/nowhere/./a"],
            "--history /nowhere/./a: is --html, too; each needs a file of its own",
        ),
        (SHORT, ["--html", "/nowhere/p.html"], "/nowhere/p.html: can't be written: No such file"),
        (SHORT, ["--dir", str(SOURCE)], "is not empty, and a trial begins with nothing"),
        ({"server code": "metrics.json"}, [], "ended (exit status 0) before it had answered"),
    ],
)
def test_a_trial_that_can_not_begin_is_one_line_and_exit_2(
    tmp_path: Path, wanted: dict[str, Any] | str | None, options: list[str], said: str
) -> None:
    if wanted is not None:
        path = tmp_path / "metrics.json"
        path.write_text(wanted if isinstance(wanted, str) else json.dumps(wanted))
        options = [str(path), *options]
    ended = raftline("simulate", *options, folder=SOURCE)
    assert (ended.returncode, ended.stdout) == (2, "")
    [line] = ended.stderr.splitlines()
    assert line.startswith("raftline simulate: ")
    assert said in line


def test_a_port_in_use_is_reported(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        if port > 65_000:
            pytest.skip("the port is beyond what --base-port takes")
        (tmp_path / "old.html").write_text("of yesterday")
        ended = simulate(
            tmp_path,
            SHORT,
            "--base-port",
            str(port),
            "--html",
            str(tmp_path / "old.html"),
            "--history",
            str(tmp_path / "new.jsonl"),
        )
    assert ended.returncode == 2
    assert f"port {port} is in use; take others with --base-port" in ended.stderr
    assert (tmp_path / "old.html").read_text() == "of yesterday"
    assert not (tmp_path / "new.jsonl").exists()


def test_the_metrics_are_never_overwritten_by_a_report_on_them(tmp_path: Path) -> None:
    ended = simulate(tmp_path, SHORT, "--history", str(tmp_path / "metrics.json"))
    assert ended.returncode == 2
    assert "is METRICS, too; each needs a file of its own" in ended.stderr
    assert json.loads((tmp_path / "metrics.json").read_text()) == SHORT


def test_the_other_files_are_written_if_one_can_not_be(tmp_path: Path) -> None:
    page = tmp_path / "p.html"
    ended = simulate(
        tmp_path, {**SHORT, **NO_LIMITS, **BRIEF}, "--history", "/dev/full", "--html", str(page)
    )
    assert ended.returncode == 2
    said = "raftline simulate: /dev/full: can't be written: No space left on device\n"
    assert ended.stderr == said
    assert "Leaders:" in ended.stdout
    assert "<svg" in page.read_text()


def test_unwritable_server_files_are_reported_in_one_line(tmp_path: Path) -> None:
    """Servers whose files cannot be written are reported in one line."""
    (tmp_path / "full").touch()
    said = r"full/0000: the server's files can't be written: Not a directory"
    with pytest.raises(ServersNotStarted, match=said):
        Servers({"0000": 1}, cast(Network, None), SOURCE / "server.py", tmp_path / "full")


def test_ctrl_c_at_a_trial_reports_and_leaves_no_server(tmp_path: Path) -> None:
    """A terminal shows a bar and Ctrl-C reports and leaves no server."""
    path = tmp_path / "m.json"
    path.write_text(json.dumps({**SHORT, "total execution time": 60}))
    kept = tmp_path / "kept"
    child = pexpect.spawn(
        sys.executable,
        [str(SOURCE / "simulator.py"), str(path), "--dir", str(kept)],
        encoding="utf-8",
        timeout=30,
    )
    child.expect(r"\[#+\.+\] +\d+/60 s  leader 000\d")
    child.kill(signal.SIGINT)
    child.expect("interrupted; the report covers the time until then")
    child.expect("Leaders:")
    child.expect(r"Service: BROKEN: broken off after [0-9.]+ s: interrupted")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    eventually(lambda: not processes_of(kept), "no server left")


def test_killed_simulator_leaves_no_server_behind(tmp_path: Path) -> None:
    """A killed simulator leaves no server not even a paused one."""
    path = tmp_path / "m.json"
    pause = {"category": "pause", "trigger point": 0, "server": "0001", "seconds": 60}
    path.write_text(json.dumps({**SHORT, "total execution time": 90, "actions": [pause]}))
    kept = tmp_path / "kept"
    with subprocess.Popen(
        [sys.executable, str(SOURCE / "simulator.py"), str(path), "--dir", str(kept)]
    ) as simulator:
        paused = str(kept / "0001")
        eventually(lambda: "T" in processes_of(paused).values(), "a server that stands still")
        simulator.kill()
    try:
        assert eventually(lambda: not processes_of(kept), "no server left")
    finally:
        for process_id in processes_of(kept):
            os.kill(process_id, signal.SIGKILL)
