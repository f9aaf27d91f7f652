"""Processes whose terminal stands still, or that were started without one of their streams."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from raftline.common.process.standard_streams import EXIT_OUTPUT

SOURCE = Path(__file__).parents[3] / "src"


def test_closing_does_not_wait_for_a_terminal_that_stands_still() -> None:
    program = (
        "import sys; from raftline.common.process.console import Console\n"
        "console = Console(sys.stdout, False)\n"
        "for _ in range(3000): console.say('x' * 300)\n"
        "console.close()\n"
    )
    reading_end, writing_end = os.pipe()  # nobody reads
    try:
        ended = subprocess.run(
            [sys.executable, "-c", program],
            stdout=writing_end,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            timeout=60,
            check=False,
        )
    finally:
        os.close(reading_end)
        os.close(writing_end)
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("command", "closed", "status"),
    [
        ("status", 1, 5), ("status", 2, 5), ("recover s1", 0, 1), ("client 1 1 get a", 2, 5),
        ("server s9 1", 1, 2), ("server s9 1", 2, 2), ("set a -", 0, 2), ("get a", 0, 5),
    ],
)  # fmt: skip
def test_a_command_works_without_a_standard_stream(
    tmp_path: Path, command: str, closed: int, status: int
) -> None:
    (tmp_path / "server-configuration.txt").write_text("s1 localhost 1\n")
    (tmp_path / "s1.log").write_text("1 1 set a 4\n")
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -m raftline {command} {closed}>&-', sys.executable],
        cwd=tmp_path,
        env={"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    assert not (closed == 2 and "raftline" in done.stdout)  # an error is no output
    assert ("standard input is closed" in done.stderr) is (command == "set a -")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("status", 5), ("get a", 5), ("get", 2), ("client 1 1 get a", 5), ("server s9 1", 2),
        ("elect x --timeout 0.1 -- true", 125), ("recover s9", 2),
    ],
)  # fmt: skip
def test_an_exit_status_stays_where_standard_error_is_full(
    tmp_path: Path, command: str, status: int
) -> None:
    (tmp_path / "server-configuration.txt").write_text("s1 localhost 1\n")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "raftline", *command.split()],
            cwd=tmp_path,
            env={"PYTHONPATH": str(SOURCE)},
            stderr=full,
            timeout=60,
            check=False,
        )
    assert done.returncode == status


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("command", ["completion fish", "--version", "help get"])
def test_output_that_is_not_taken_is_reported_in_one_line(command: str) -> None:
    def run(to: int) -> tuple[int, bytes]:
        done = subprocess.run(
            [sys.executable, "-m", "raftline", *command.split()],
            env={"PYTHONPATH": str(SOURCE)},
            stdout=to,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stderr

    reading_end, writing_end = os.pipe()
    os.close(reading_end)  # the reader has gone
    assert run(writing_end) == (0, b"")
    os.close(writing_end)
    with Path("/dev/full").open("wb") as full:
        said = b"raftline: can't print: No space left on device\n"
        assert run(full.fileno()) == (EXIT_OUTPUT, said)
