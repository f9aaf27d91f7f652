"""`raftline status --watch`: again and again, until Ctrl-C."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from raftline_testing.doubles.status_nodes import FOLLOWER, LEADER, cluster_of, line_of

SERVES = b"[*] s1 leads term 3: 2 of 3 voters follow; none may fail"
# A process that inherits an ignored SIGINT would not hear it.
UNIGNORED = [
    sys.executable, "-c",
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from raftline import cli; sys.exit(cli.main(sys.argv[1:]))",
]  # fmt: skip
CLEARED = b"\x1b[H\x1b[J"


@contextlib.contextmanager
def watching(
    folder: Path, *replies: bytes, options: Sequence[str] = (), stdout: int = subprocess.PIPE
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """Yield a process that watches scripted nodes and a dead one, and its output."""
    with cluster_of(folder, *replies) as command:
        process = subprocess.Popen(
            [*UNIGNORED, *command, "--watch", "0.01", *options],
            stdout=stdout,
            stderr=subprocess.PIPE,
            env={**os.environ, "TERM": "xterm"},
        )
        with process:
            try:
                yield process, process.stdout or io.BytesIO()
            finally:
                process.kill()


def until(stream: IO[bytes], wanted: bytes, times: int) -> bytes:
    """Read until this was there so often."""
    seen = b""
    while seen.count(wanted) < times:
        part = os.read(stream.fileno(), 1 << 16)
        assert part, seen
        assert len(seen) < 50_000, seen[-2000:]  # it never comes
        seen += part
    return seen


def pressed_ctrl_c(process: subprocess.Popen[bytes]) -> tuple[int, bytes]:
    """Return the exit code of a process that is interrupted, and what it complained of."""
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def test_in_a_pipe_each_status_follows_the_previous_one(tmp_path: Path) -> None:
    with watching(tmp_path, line_of(LEADER), line_of(FOLLOWER)) as (process, output):
        seen = until(output, SERVES + b"\n", 3)
        code, errors = pressed_ctrl_c(process)
    assert b"\x1b" not in seen
    assert seen.startswith(b"node ")
    assert seen.count(SERVES + b"\n\nnode ") >= 2
    assert code == 0  # as of the last look
    assert b"connection refused" in errors
    assert len(set(errors.splitlines())) == 1  # and no traceback


def test_on_a_terminal_each_status_replaces_the_previous_one(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with (
        os.fdopen(ours, "rb", 0) as screen,
        watching(tmp_path, line_of(LEADER), stdout=theirs) as (process, _),
    ):
        os.close(theirs)
        seen = until(screen, b"[!] no quorum for s1", 3)
        code, errors = pressed_ctrl_c(process)
    assert seen.startswith(CLEARED)
    assert seen.count(CLEARED) >= 3
    assert code == 3
    assert b"Traceback" not in errors


def test_with_json_each_status_is_a_line(tmp_path: Path) -> None:
    replies = (line_of(LEADER), line_of(FOLLOWER))
    with watching(tmp_path, *replies, options=["--json"]) as (process, output):
        seen = until(output, b"\n", 2)
        pressed_ctrl_c(process)
    first, second = (json.loads(line) for line in seen.splitlines()[:2])
    assert first == second
    assert [node["name"] for node in first] == ["s1", "s2", "s3"]


def test_a_watch_ends_when_its_reader_leaves(tmp_path: Path) -> None:
    with watching(tmp_path, line_of(LEADER), line_of(FOLLOWER)) as (process, output):
        until(output, SERVES, 1)
        output.close()
        assert process.wait(60) == 0
