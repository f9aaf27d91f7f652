"""The campaigns of `make nightly` run one after the other, each within its limit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from raftline_testing.nodes.at_work import processes_of
from raftline_testing.nodes.processes import eventually
from raftline_testing.runner import nightly


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], float]]:
    """Three campaigns, and those that ran, with their limits in seconds."""
    begun: list[tuple[list[str], float]] = []

    def run(command: list[str], limit_s: float) -> str:
        begun.append((command, limit_s))
        return "exit status 2" if command == ["make", "one"] else ""

    monkeypatch.setattr(nightly, "CAMPAIGNS", (("one", 600.0), ("two X=3", 2.0), ("three", 3.0)))
    monkeypatch.setattr(nightly, "run", run)
    return begun


def test_a_campaign_that_fails_does_not_stop_the_next(
    tmp_path: Path, ran: list[tuple[list[str], float]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert nightly.main(["--hours", "11", "--record", str(tmp_path / "record")]) == 1
    assert ran == [
        (["make", "one"], 36000), (["make", "two", "X=3"], 120), (["make", "three"], 180)
    ]  # fmt: skip
    assert capsys.readouterr().out.splitlines()[-1] == "make one: exit status 2"


def test_a_night_runs_what_was_last_run_longest_ago(
    tmp_path: Path, ran: list[tuple[list[str], float]], capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "record"
    night = ["--hours", "0.04", "--record", str(record)]
    assert nightly.main(night) == 1
    assert [each[0][1] for each in ran] == ["one", "two"]  # the first of all, whatever its limit
    assert "make three: left to another night" in capsys.readouterr().out
    assert [line.split("\t")[2:] for line in record.read_text().splitlines()] == [
        ["one", "exit status 2, 0 s"], ["two X=3", "passed, 0 s"]
    ]  # fmt: skip
    ran.clear()
    assert nightly.main(["--hours", "0.01", "--record", str(record)]) == 0
    assert [each[0][1] for each in ran] == ["three"]
    ran.clear()
    assert nightly.main(night) == 1
    assert ran[0][0] == ["make", "one"]


def test_the_exit_status_of_a_campaign_is_reported() -> None:
    assert nightly.run([sys.executable, "-c", "raise SystemExit(3)"], 60) == "exit status 3"
    assert nightly.run([sys.executable, "-c", ""], 60) == ""


def test_a_hanging_campaign_is_stopped_at_its_limit() -> None:
    sleeps = [sys.executable, "-c", "import time; time.sleep(600)"]
    assert nightly.run(sleeps, 0.0) == "stopped after 0 s"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs a /proc to look into")
@pytest.mark.parametrize(("handler", "grace_s"), [("default_int_handler", 60.0), ("SIG_IGN", 0.1)])
def test_processes_of_a_campaign_end_with_it(tmp_path: Path, handler: str, grace_s: float) -> None:
    child = (
        f"import signal, sys, time; signal.signal(signal.SIGINT, signal.{handler});"
        "open(sys.argv[1] + '/began', 'w'); time.sleep(600)"
    )
    starts = f"subprocess.run([sys.executable, '-c', {child!r}, sys.argv[1]])"
    parent = f"import subprocess, sys; {starts}"
    process = subprocess.Popen([sys.executable, "-c", parent, tmp_path], start_new_session=True)
    eventually((tmp_path / "began").exists, "a child")
    nightly.end(process, grace_s)
    assert eventually(lambda: not processes_of(tmp_path), "no process")
