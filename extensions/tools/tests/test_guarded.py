"""A command that is ended since what it needs was lost, and what it had started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from raftline.tools.requests import held_command
from raftline.tools.requests.held_command import CannotRun, ExitResult, Signals, run
from raftline_testing.nodes.processes import DEADLINE_S, eventually

# Its child leaves the process group, and has a child there that nobody waits for.
LEAVES_A_ZOMBIE = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
group = os.getpgrp()
if not os.fork():
    os.setpgid(0, 0)
    if not os.fork():
        os.setpgid(0, group)
        with open(sys.argv[1] + ".new", "w") as file:
            file.write(str(os.getppid()))
        os.rename(sys.argv[1] + ".new", sys.argv[1])
    time.sleep(60)
    os._exit(0)
time.sleep(60)
"""


def test_nothing_that_sigkill_leaves_in_the_group_is_waited_for(tmp_path: Path) -> None:
    started = tmp_path / "started"

    def lost() -> None:
        eventually(started.exists, "all have started")

    with Signals() as signals:
        command = [sys.executable, "-c", LEAVES_A_ZOMBIE, str(started)]
        ended = run(command, 1, 0.1, signals, lost)
    os.kill(int(started.read_text()), signal.SIGKILL)  # it is there still
    assert (ended.status, ended.was_lost) == (128 + 9, True)


STANDS = ["sleep", "60"]


class Started:
    """Stands in for `subprocess.Popen`: does something between the start and its return."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, then: Any) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []

        def start(*arguments: Any, **named: Any) -> subprocess.Popen[bytes]:
            process = popen(*arguments, **named)
            self.processes.append(process)
            then()
            return process

        popen = subprocess.Popen
        monkeypatch.setattr(held_command.subprocess, "Popen", start)


@pytest.mark.parametrize("number", held_command.PASSED_ON)
def test_signal_at_a_commands_start_ends_it_before_its_lock(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A signal at a command's start ends it before its lock goes."""
    monkeypatch.setattr(sys, "stdin", None)
    started = Started(monkeypatch, lambda: os.kill(os.getpid(), number))
    with Signals() as signals:
        ended = run(STANDS, 1, 5.0, signals, threading.Event().wait)
        assert signals.news is None
    assert (ended.status, ended.was_lost) == (128 + number, False)
    assert started.processes[0].returncode == -number


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_once_a_lost_command_has_ended_is_not_forgotten(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """`raftline elect` campaigned again after any order to stop."""
    monkeypatch.setattr(sys, "stdin", None)
    end_rest = held_command._Guarded._end_rest

    def signalled(self: Any, was_lost: bool) -> None:
        os.kill(os.getpid(), number)
        end_rest(self, was_lost)

    monkeypatch.setattr(held_command._Guarded, "_end_rest", signalled)
    with Signals() as signals:
        ended = run(STANDS, 1, 5.0, signals, lambda: None)
    assert ended == ExitResult(128 + signal.SIGTERM, was_lost=True, is_to_stop=True)


def test_command_that_cannot_be_followed_ends_before_its_lock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A command that cannot be followed ends before its lock goes."""

    def no_thread(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    def has_no_more() -> None:
        monkeypatch.setattr(threading.Thread, "start", no_thread)

    started = Started(monkeypatch, has_no_more)
    with Signals() as signals, pytest.raises(RuntimeError, match="new thread"):
        run(STANDS, 1, 5.0, signals, lambda: None)
    assert started.processes[0].wait(DEADLINE_S) == -signal.SIGKILL


def test_signal_after_a_failed_start_ends_the_program() -> None:
    """A signal after a command that cannot be started ends the program."""
    with Signals() as signals:
        with pytest.raises(CannotRun, match="/gone/away can't be run"):
            run(["/gone/away"], 1, 5.0, signals, lambda: None)
        with pytest.raises(held_command.Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)
