"""A forked process is like one that is started as usual, from its arguments to its exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, TypeVar

import pytest

from raftline_testing.nodes.loaded_program import can_fork

if not can_fork():
    pytest.skip("only Linux can fork for another process", allow_module_level=True)

from raftline_testing.nodes.forked import ForkedPopen

Kind = TypeVar("Kind", bound="subprocess.Popen[bytes]")
PROGRAM = """
import json, os, signal, sys, threading
if __name__ == "__main__":
    def target(number):
        try:
            return os.readlink(f"/proc/self/fd/{number}").partition(":")[0]
        except OSError:
            return ""
    facts = {
        "arguments": sys.argv, "path": sys.path[0], "folder": os.getcwd(),
        "environment": dict(os.environ), "parent": os.getppid(), "group": os.getpgrp(),
        "command": open("/proc/self/cmdline").read().rstrip("\\0").split("\\0"),
        "open": [target(number) for number in range(64)],
        "signals": [str(signal.getsignal(each)) for each in (2, 13, 15)],
        "streams": [
            (each.name, each.encoding, each.errors, each.line_buffering, each.write_through,
             type(each.buffer).__name__, each.isatty())
            for each in (sys.stdin, sys.stdout, sys.stderr)
        ],
        "threads": threading.active_count(), "main": threading.current_thread().name,
        "typed": sys.stdin.readline(), "hash": hash("a"),
    }
    print(json.dumps(facts), flush=True)
    sys.stdin.read()
    sys.exit(len(sys.argv))
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A program that prints what it finds, and ends with the number of its arguments."""
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    monkeypatch.setattr(ForkedPopen, "programs", [str(file)])
    return str(file)


def start(program: str, kind: type[Kind], **given: Any) -> Kind:
    command = [sys.executable, program, "s1", "ä b"]
    return kind(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **given)


def facts_of(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Return what the process printed, and its exit status."""
    said, _ = process.communicate(b"typed\n", timeout=60)
    return {**json.loads(said), "status": process.returncode}


def test_a_forked_process_finds_what_a_started_one_does(program: str, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    given = {
        "cwd": tmp_path,
        "env": {**os.environ, "RAFTLINE_SERVER_HOST": "::1"},
        "pass_fds": [reading],
        "stderr": subprocess.STDOUT,
    }
    forked = start(program, ForkedPopen, **given)
    assert forked.is_forked
    found, usual = facts_of(forked), facts_of(start(program, subprocess.Popen, **given))
    os.close(reading)
    os.close(writing)
    del found["hash"], usual["hash"]
    assert found == usual
    assert (found["status"], found["typed"]) == (3, "typed\n")


def test_two_forked_processes_hash_in_different_ways(program: str) -> None:
    processes = [start(program, ForkedPopen) for _ in range(4)]
    assert len({facts_of(process)["hash"] for process in processes}) == 2


def test_a_forked_process_is_stopped_and_killed_as_a_child(program: str) -> None:
    with start(program, ForkedPopen) as process:
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        process.kill()
        assert process.wait(60) == -signal.SIGKILL


@pytest.mark.parametrize(
    "given",
    [
        {"env": {**os.environ, "PYTHONUTF8": "0"}},
        {"start_new_session": True},
        {"umask": 0o77},
        {"preexec_fn": lambda: None},
    ],
    ids=lambda given: next(iter(given)),
)
def test_a_process_with_surroundings_of_its_own_is_not_forked(
    program: str, given: dict[str, Any]
) -> None:
    process = start(program, ForkedPopen, **given)
    assert not process.is_forked
    assert facts_of(process)["typed"] == "typed\n"


def test_a_process_is_not_forked_while_a_signal_is_ignored(program: str) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = start(program, ForkedPopen)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert not process.is_forked
    facts_of(process)
