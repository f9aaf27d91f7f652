"""`make run` sets itself up: what it says, how soon it gives up, and Ctrl-C in it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DEADLINE_S = 120
# Stands in for a Python: what takes long or needs a network is done by a few lines of shell.
STUB = """#!/bin/sh
case "$*" in
    -c*|*--version) exit 0;;
    *"-m venv"*) {venv};;
    *"pip install"*) {pip};;
    *) echo "went on: $*";;
esac
"""
# As a terminal would have it, wherever the tests were started from.
HEARS_CTRL_C = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
HEARS_CTRL_C += "os.execvp(sys.argv[1], sys.argv[1:])"
# A signal that comes right before a sleep is seen after it, so Ctrl-C is waited for.
WAITS = "import signal, socket, sys; print('noise', flush=True); "
WAITS += "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT]); "
WAITS += "socket.create_connection(('127.0.0.1', int(sys.argv[1]))); "
WAITS += f"signal.sigtimedwait([signal.SIGINT], {DEADLINE_S}); raise KeyboardInterrupt"


def clone(folder: Path, *, venv: str = "exit 0", pip: str = "exit 0", made: bool = True) -> None:
    """Put into `folder` what `make run` needs, and Pythons that do this."""
    for name in ("Makefile", "setup.py", "setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    (folder / "deploy").mkdir(exist_ok=True)
    shutil.copy(ROOT / "deploy" / "rules.mk", folder / "deploy")
    pythons = [folder / "python", folder / ".venv" / "bin" / "python"]
    for python in pythons if made else pythons[:1]:
        python.parent.mkdir(parents=True, exist_ok=True)
        python.write_text(STUB.format(venv=venv, pip=pip))
        python.chmod(0o755)


def started(folder: Path, target: str, **variables: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name[:4] != "PIP_"}
    return subprocess.Popen(
        [sys.executable, "-c", HEARS_CTRL_C, "make", target, "PYTHON=./python"],
        cwd=folder,
        env=environment | variables,
        start_new_session=True,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def made(folder: Path, target: str, **variables: str) -> tuple[int, str, str]:
    """Make the target; return the exit code and both outputs."""
    with started(folder, target, **variables) as make:
        output, errors = make.communicate(timeout=DEADLINE_S)
    return make.returncode, output, errors


NOISE = "echo a notice; echo 'WARNING: Location is ignored' >&2; "


def test_pip_output_is_hidden_if_nothing_failed(tmp_path: Path) -> None:
    clone(tmp_path, pip=NOISE + "exit 0")
    assert made(tmp_path, "run") == (
        0,
        "went on: -m raftline up --client\n",
        "Setting up .venv ...\n",
    )
    for target in (".venv/dev-installed", ".venv/bench-installed"):
        code, output, errors = made(tmp_path, target)
        assert (code, output, errors.count("\n")) == (0, "", 1)
        assert errors.startswith("Setting up .venv with the tools for ")


def test_failed_pip_output_is_shown_and_the_cluster_runs(tmp_path: Path) -> None:
    """If pip fails, its output is shown, and the cluster still runs."""
    clone(tmp_path, pip=NOISE + "exit 1")
    code, output, errors = made(tmp_path, "run")
    assert (code, output) == (0, "went on: src/cli.py up --client\n")
    lines = errors.splitlines()
    assert lines[:3] == ["Setting up .venv ...", "a notice", "WARNING: Location is ignored"]
    assert lines[-1] == "The set-up failed (see above); going on with ./python alone."
    assert not (tmp_path / ".venv" / "run-installed").exists()


def test_an_environment_that_can_not_be_made_is_reported(tmp_path: Path) -> None:
    clone(tmp_path, venv="echo the disk is full; exit 1", made=False)
    code, _, errors = made(tmp_path, ".venv/run-installed")
    assert (code, errors.splitlines()[:2]) == (2, ["Setting up .venv ...", "the disk is full"])


@pytest.mark.parametrize("step", ["venv", "pip"])
def test_set_up_is_announced_and_ctrl_c_shows_no_traceback(tmp_path: Path, step: str) -> None:
    """The set-up is announced at once, and Ctrl-C prints no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as begun:
        begun.settimeout(DEADLINE_S)
        waits = shlex.join([sys.executable, "-c", WAITS, str(begun.getsockname()[1])])
        if step == "venv":
            clone(tmp_path, venv=f"exec {waits}", made=False)
        else:
            clone(tmp_path, pip=f"exec {waits}")
        with started(tmp_path, "run") as make:
            try:
                assert make.stderr is not None
                first = make.stderr.readline()
                begun.accept()[0].close()
            finally:
                os.killpg(make.pid, signal.SIGINT)
            output, errors = make.communicate(timeout=DEADLINE_S)
    assert first == "Setting up .venv ...\n"
    assert output == ""
    assert [line for line in errors.splitlines() if not line.startswith("make")] == []
    assert make.returncode not in (0, None)


def test_without_a_network_the_set_up_waits_briefly_by_default(tmp_path: Path) -> None:
    clone(tmp_path, pip='echo "$PIP_RETRIES $PIP_DEFAULT_TIMEOUT"; exit 1')

    def limits(**variables: str) -> str:
        return made(tmp_path, ".venv/run-installed", **variables)[2].splitlines()[1]

    assert limits() == "1 5"
    assert limits(PIP_RETRIES="7", PIP_TIMEOUT="60") == "7 60"
    assert limits(PIP_DEFAULT_TIMEOUT="30") == "1 30"


@pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="pip is not installed")
def test_a_package_index_that_hangs_up_is_asked_twice(tmp_path: Path) -> None:
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as index:

        def hang_up() -> None:
            with contextlib.suppress(OSError):  # it is closed
                while True:
                    with index.accept()[0] as connection:
                        asked.append(connection.recv(1000).partition(b" HTTP")[0])

        threading.Thread(target=hang_up, daemon=True).start()
        clone(tmp_path, pip=f'exec {shlex.quote(sys.executable)} "$@"')
        code, _, errors = made(
            tmp_path,
            ".venv/run-installed",
            PIP_DEFAULT_TIMEOUT=str(DEADLINE_S),  # not the few seconds of the Makefile
            PIP_INDEX_URL=f"http://127.0.0.1:{index.getsockname()[1]}/simple",
            NO_PROXY="127.0.0.1",
            PIP_CONFIG_FILE=os.devnull,
            PIP_PREFIX=str(tmp_path / "prefix"),
        )
        index.shutdown(socket.SHUT_RDWR)
    assert code == 2
    assert "ERROR: " in errors
    assert asked == [b"GET /simple/setuptools/"] * 2
