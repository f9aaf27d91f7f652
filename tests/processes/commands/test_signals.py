"""Ctrl-C at any moment of a command's start, and other signals while it works."""

from __future__ import annotations

import configparser
import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from raftline.common.process.quiet_exit import end_at_once, end_quietly
from raftline.common.process.signals import raised
from raftline_testing.doubles.scripted_node import ScriptedNode

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "src"

# This stands in for a module: Ctrl-C while it is loaded, and then the module itself. Ctrl-C comes
# at a place at which Python makes another error of an exception: up to 3.11, a dataclass's field.
INTERRUPTED = """
import importlib, os, signal, sys
class Moment:
    def __set_name__(self, *_):
        os.kill(os.getpid(), signal.SIGINT)
class Held:
    moment = Moment()
sys.path.remove(os.path.dirname(__file__))
del sys.modules[__name__]
importlib.import_module(__name__)
"""


def run_interrupted(
    folder: Path, module: str, program: list[str], before: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run Python with Ctrl-C in the moment when `module` is loaded."""
    (folder / f"{module}.py").write_text(INTERRUPTED)
    return subprocess.run(
        ["sh", "-c", f'{before} exec "$@"', "sh", sys.executable, "-S", *program],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{SOURCE}"},
    )


def installed_commands() -> list[list[str]]:
    """Return how the commands begin that setup.cfg installs."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = parser["options.entry_points"]["console_scripts"].split("\n")
    found = [line.partition(" = ")[2].partition(":") for line in lines if line]
    return [
        ["-c", f"import sys; from {module} import {name}; sys.exit({name}())", "--help"]
        for module, _, name in found
    ]


SCRIPTS = [[str(SOURCE / f"{name}.py"), "--help"] for name in ("server", "client", "cli")]
SCRIPTS += [[str(SOURCE / "simulator.py"), "--help"], ["-m", "raftline", "--help"]]
# Without those of the majorities lab that need no more than Python has loaded by itself.
LABS = [
    (f"{lab}/check.py", "subprocess")
    for lab in ("availability", "bugs", "elections", "majorities", "repair", "replicas")
]
LABS += [("majorities/steps.py", "subprocess")]
LABS += [
    (f"{program}.py", "argparse")
    for program in (
        "bugs/play",
        "repair/client",
        "repair/gateway",
        "repair/node",
        "repair/scenario",
        "replicas/lab",
        "replicas/node",
        "elections/figures",
    )
]


@pytest.mark.parametrize("program", SCRIPTS + installed_commands(), ids=lambda each: each[-2][-40:])
@pytest.mark.parametrize("module", ["argparse", "threading"])
def test_ctrl_c_while_a_command_is_loaded_ends_it_silently(
    tmp_path: Path, program: list[str], module: str
) -> None:
    done = run_interrupted(tmp_path, module, program)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize(("program", "module"), LABS)
def test_ctrl_c_while_a_lab_program_is_loaded_ends_it_silently(
    tmp_path: Path, program: str, module: str
) -> None:
    done = run_interrupted(tmp_path, module, [str(ROOT / "course" / "labs" / program), "--help"])
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize(
    ("command", "module"),
    [
        ("status", "socket"), ("transfer", "socket"), ("up", "subprocess"),
        ("members", "socket"), ("controller s1 RETRIEVE", "socket"), ("backup new", "socket"),
        ("fsck", "json"), ("recover s1", "json"), ("simulate", "socket"),
        ("server s1 1", "socket"), ("client 1 1", "socket"),
    ],
)  # fmt: skip
def test_ctrl_c_while_modules_load_ends_silently(tmp_path: Path, command: str, module: str) -> None:
    """Ctrl-C while the modules of a command are loaded ends it silently."""
    done = run_interrupted(tmp_path, module, ["-m", "raftline", *command.split()])
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize(
    "program",
    [*SCRIPTS, *installed_commands(), [str(ROOT / "course/labs/replicas/node.py"), "--help"]],
    ids=lambda each: each[-2][-40:],
)  # fmt: skip
def test_a_program_takes_sigint_even_if_inherited_as_ignored(
    tmp_path: Path, program: list[str]
) -> None:
    """A script's `&` makes its children ignore SIGINT."""
    done = run_interrupted(tmp_path, "argparse", program, before="trap '' INT;")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


# Each waits for ever once it has printed its line: a program that handles SIGINT with an exception.
WAITING = """
import signal, sys, time
sys.path[:0] = [{root!r}, {source!r}]
from labs.checking import end_with
def main():
    print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, flush=True)
    time.sleep(600)
end_with(main)
"""


def test_a_lab_is_ended_by_sigint_even_if_inherited_as_ignored() -> None:
    program = WAITING.format(root=str(ROOT / "course"), source=str(SOURCE))
    with subprocess.Popen(
        ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as lab:
        assert lab.stdout
        assert lab.stdout.readline() == "True\n"
        lab.send_signal(signal.SIGINT)
        _, said = lab.communicate(timeout=60)
    assert (lab.returncode, said) == (130, "-c: interrupted\n")


def test_a_test_finds_sigint_as_a_terminal_leaves_it() -> None:
    """A process started by a test does so as well, even if the test runner inherited another
    setting."""
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    inside = "import signal; print(signal.getsignal(2) is signal.default_int_handler)"
    ran = [sys.executable, "-c", inside]
    done = subprocess.run(ran, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_a_program_that_imports_raftline_keeps_its_own_ctrl_c(tmp_path: Path) -> None:
    program = (
        "import signal\nbefore = signal.getsignal(signal.SIGINT)\n"
        "from raftline import KV, Node, cli, server\n"
        "print(signal.getsignal(signal.SIGINT) is before)\n"
    )
    done = run_interrupted(tmp_path, "nothing", ["-c", program])
    assert (done.stdout, done.stderr) == ("True\n", "")


@pytest.mark.parametrize("outer", [signal.default_int_handler, signal.SIG_IGN])
def test_ctrl_c_is_an_exception_only_if_there_is_cleanup(outer: Any) -> None:
    """Ctrl-C raises an exception only if there is something to clean up."""
    before = signal.signal(signal.SIGINT, outer)
    try:
        end_quietly()
        begun = signal.getsignal(signal.SIGINT)
        with raised():
            inside = signal.getsignal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is begun
    finally:
        signal.signal(signal.SIGINT, before)
    assert inside is signal.default_int_handler
    assert begun is end_at_once


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_a_backup_leaves_no_file(tmp_path: Path, number: signal.Signals) -> None:
    has_stalled, is_over = threading.Event(), threading.Event()

    def handler(command: str) -> str:
        if command == "backup":
            return "BACKUP response: 7-1 of 9 bytes crc32 00000000"
        if command == "backup from 0":
            return 'BACKUP response: from 0 "value"'
        if command.startswith("backup from"):
            has_stalled.set()
            is_over.wait(60)
        return "Sorry, no."

    with contextlib.closing(ScriptedNode(handler)) as node:
        command = ["-m", "raftline", "backup", "copy", "--at", f"localhost:{node.port}"]
        backup = subprocess.Popen(
            [sys.executable, *command], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(SOURCE)}
        )
        try:
            assert has_stalled.wait(60)
            assert [path.suffix for path in tmp_path.iterdir()] == [".tmp"]
            backup.send_signal(number)
            assert backup.wait(60) == 128 + number
        finally:
            backup.kill()
            backup.wait()
            is_over.set()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("outer", [signal.SIG_IGN, lambda *_: None])
def test_a_signal_that_is_ignored_or_handled_ends_no_command(outer: Any) -> None:
    before = signal.signal(signal.SIGHUP, outer)
    ctrl_c = signal.signal(signal.SIGINT, end_at_once)
    try:
        with raised():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is outer
    finally:
        signal.signal(signal.SIGINT, ctrl_c)
        signal.signal(signal.SIGHUP, before)
