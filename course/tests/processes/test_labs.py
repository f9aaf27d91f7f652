"""The labs' stories that no other test tells, with real nodes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from labs.availability.check import Checks, check_by_hand
from labs.elections import figures
from labs.elections.figures import made
from labs.elections.report import differs_from_report
from labs.repair.check import check_cloud, check_deleted, check_door, check_menu
from labs.repair.scenario import play_settled
from labs.repair.terminals import as_in_the_sheet, terminal
from labs.repair.watchful import CHECK_S
from raftline.common.config import FILE_NAME
from raftline_testing.nodes.at_work import processes_of
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import eventually, free_ports
from raftline_testing.runner.at_night import at_night


@pytest.mark.parametrize("name", ["2", "7", *at_night("1", "3", "4", "5", "6")])
def test_each_line_of_the_report_s_figure_stands_in_its_place(name: str) -> None:
    assert differs_from_report(name, made(name)) == ""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs a /proc to look into")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_figure_ended_with_a_paused_node_leaves_no_process(
    number: signal.Signals, tmp_path: Path
) -> None:
    lab = subprocess.Popen(
        [sys.executable, figures.__file__, "leaders"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    eventually(lambda: "T" in processes_of(tmp_path).values(), "a stopped node")
    if number is signal.SIGINT:
        os.killpg(lab.pid, number)  # as a terminal does
    else:
        lab.send_signal(number)
    _, said = lab.communicate(timeout=60)
    assert (lab.returncode, "Traceback" in said) == (
        -9 if number is signal.SIGKILL else 128 + number,
        False,
    ), said
    eventually(lambda: not processes_of(tmp_path), "no process")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_during_the_start_of_nodes_is_not_a_failure(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 1)
    cluster["s1"].lines.append("Traceback (most recent call last):")
    with pytest.raises(KeyboardInterrupt), cluster:
        raise KeyboardInterrupt


def test_of_three_leaders_at_once_only_one_commits() -> None:
    shown = made("leaders")
    assert [fact.partition(": ")[2].partition(",")[0] for fact in shown["who leads"]] == [
        "leader"
    ] * 3
    assert [line.endswith("set a after") for line in shown["the log of each, afterwards"]][-1]


def test_three_nodes_start_by_name_and_speak_the_course_s_words() -> None:
    with as_in_the_sheet() as (nodes, _, lab):
        leader = lab.leader()
        nodes[leader].wait_for_line(f"{leader} is now the leader.")
        for name, node in nodes.items():
            node.wait_for_line(f"{name} log file not found. Starting with an empty log.")
            node.wait_for_line(f"{name} is listening on localhost:{lab.members[name].port}")
        voted = f"voted for {leader} for term"
        assert eventually(lambda: [n for n, c in nodes.items() if voted in "\n".join(c.lines)])
        assert nodes[leader].terminate(signal.SIGINT) == 0
        nodes[leader].wait_for_line(f"{leader} server is shutting down.")
        nodes[leader].wait_for_line(f"{leader} has shut down cleanly.")


def test_each_choice_of_the_menu_works_as_documented(capsys: pytest.CaptureFixture[str]) -> None:
    with as_in_the_sheet() as (nodes, file, lab):
        lab.leader()
        check_menu(nodes, file, lab)
        check_deleted(nodes, file, lab)
    assert "FAILED" not in capsys.readouterr().out


def test_a_lab_node_watches_the_log_in_its_dir(tmp_path: Path) -> None:
    sheet, files = tmp_path / "sheet", tmp_path / "files"
    for folder in (sheet, files):
        folder.mkdir()
        (folder / FILE_NAME).write_text(f"node1 localhost {next(free_ports)}\n")
    options = ("--config", str(sheet / FILE_NAME), "--dir", str(files))
    node = terminal("node1", *options)
    try:
        node.wait_for_line("I am Leader")
        threading.Event().wait(10 * CHECK_S)
        assert not [line for line in node.lines if "was deleted" in line], node.lines
        (files / "node1.log").unlink()
        node.wait_for_line("node1.log was deleted while it ran")
    finally:
        node.close()


def test_the_nine_calls_of_the_course_s_program_work(capsys: pytest.CaptureFixture[str]) -> None:
    check_door()
    assert "FAILED" not in capsys.readouterr().out


def test_the_rows_of_lab_5_by_hand_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_by_hand(Checks(), tmp_path)
    said = capsys.readouterr().out
    assert (said.count("\nok "), "FAILED" in said) == (9, False), said


def test_a_node_with_cloud_listens_on_all_addresses(capsys: pytest.CaptureFixture[str]) -> None:
    check_cloud()
    assert capsys.readouterr().out == "ok 003-01 --cloud listens on 0.0.0.0\n"


@pytest.mark.parametrize("name", ["c", "bonus"])
def test_each_scenario_has_the_expected_outcome(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    play_settled(name)
    assert capsys.readouterr().out.count("ok  ") > 5
