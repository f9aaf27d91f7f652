"""`make -C testing nemesis`, a short slice: nothing is found on real nodes."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftline_testing.nemesis import run_nemesis
from raftline_testing.nodes.at_work import processes_of
from raftline_testing.nodes.processes import eventually
from raftline_testing.runner.at_night import at_night

PROGRAM = Path(run_nemesis.__file__)


@contextlib.contextmanager
def started(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Start a campaign whose nodes' files, and report, lie in `folder`."""
    with subprocess.Popen(
        [sys.executable, str(PROGRAM), *words, "--report", str(folder / "report.md")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    ) as campaign:
        try:
            yield campaign
        finally:
            campaign.kill()


def wait_for_faults(campaign: subprocess.Popen[str]) -> None:
    """Wait until nodes are under faults."""
    output = campaign.stdout
    assert output is not None
    eventually(lambda: "window 1, " in output.readline(), "the first window")


@pytest.mark.parametrize(
    ("network", "seconds", "nodes"), [("auto", 10, 5), *at_night(("proxy", 5, 3))]
)
def test_faults_of_many_kinds_break_no_promise(
    tmp_path: Path, network: str, seconds: int, nodes: int
) -> None:
    words = ["--minutes", str(seconds / 60), "--seed", "3", "--nodes", str(nodes)]
    words += ["--network", network, "--each-kind", "--haste", "0.4"]
    with started(tmp_path, *words) as campaign:
        printed, _ = campaign.communicate(timeout=280)
    assert campaign.returncode == 0, printed
    report = (tmp_path / "report.md").read_text()
    assert "| **findings** | **none** |" in report
    assert "| windows judged | 1 of 1 |" in report
    assert re.search(r"of a watch: .*.gone on. [1-9].*.writes. [1-9]", report)
    assert re.search(r"\| recorded steps replayed \| [1-9][0-9,]+ \|", report)
    assert report in printed
    assert [path.name for path in tmp_path.iterdir()] == ["report.md"]
    assert processes_of(tmp_path) == {}


def test_ctrl_c_ends_a_campaign_with_a_report(tmp_path: Path) -> None:
    """Ctrl-C ends a campaign with a report and leaves no process."""
    with started(tmp_path, "--minutes", "5", "--verbose") as campaign:
        wait_for_faults(campaign)
        campaign.send_signal(signal.SIGINT)
        printed, _ = campaign.communicate(timeout=280)
    assert campaign.returncode == 130, printed
    assert "(stopped by Ctrl-C)" in (tmp_path / "report.md").read_text()
    assert processes_of(tmp_path) == {}


def test_a_killed_campaign_leaves_no_node_running(tmp_path: Path) -> None:
    with started(tmp_path, "--minutes", "5", "--verbose") as campaign:
        wait_for_faults(campaign)
    assert eventually(lambda: processes_of(tmp_path) == {}, "all nodes ended")
