"""The growth row of commands by RESP, and its generator of pipelines."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from raftline_testing.nodes.processes import ports_in_a_row

BENCH = Path(__file__).resolve().parents[4] / "bench"
PROGRAM = """
import sys
from generator import BenchError
from pipelines import Requests, resp, send
try:
    print(send(int(sys.argv[1]), Requests(lambda number: resp("GET", "k"), lines=2), 1, 3))
except BenchError as problem:
    print(problem)
"""


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        (b"$1\r\nv\r\n" * 3, "3\n"),
        (b"$1\r\nv\r\n-ERR no\r\n$1\r\nv\r\n", "a request was refused: -ERR no\n"),
        (b"-ERR no\r\n", "a request was refused: -ERR no\n"),
        (b"s1@Sorry, no.\n", "a request was refused: s1@Sorry, no.\n"),
        (b"", "the server closed a connection\n"),
    ],
)
def test_pipeline_counts_if_nothing_was_refused(answers: bytes, found: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 10)
                connection.sendall(answers)

        server = threading.Thread(target=answer)
        server.start()
        command = [sys.executable, "-c", PROGRAM, str(listener.getsockname()[1])]
        done = subprocess.run(
            command, cwd=BENCH, capture_output=True, text=True, check=False, timeout=60
        )
        server.join()
    assert done.stdout == found, done.stderr


@pytest.mark.nightly
def test_each_command_by_resp_is_compared(tmp_path: Path) -> None:
    command = [
        *(sys.executable, str(BENCH / "growth.py"), "--only", "commands", "--rounds", "1"),
        *("--seconds", "0.1", "--dir", str(tmp_path), "--json", str(tmp_path / "json")),
        *("--base-port", str(ports_in_a_row(80))),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert "ended early" not in done.stderr
    (path,) = (tmp_path / "json").iterdir()
    rows = json.loads(path.read_text())["rows"]
    by_resp = [row for row in rows if row["system"] == "raftline, RESP"]
    assert len(by_resp) == (7 + 8) + (7 + 4)  # with one in flight; with 100, without long values
    assert all(row["figures"]["of an incr's"][0] > 0 for row in by_resp)
    assert sum("of a line's" in row["figures"] for row in by_resp) == 10
