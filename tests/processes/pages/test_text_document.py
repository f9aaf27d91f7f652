"""The example of docs/use/core.md: a text document, replicated by the core alone, through kills."""

from __future__ import annotations

import itertools
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftline_testing.nodes.processes import DEADLINE_S, Process, end_all, eventually, free_ports

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "text_document.py"
NAMES = ("s1", "s2", "s3")
AUTHORS = ("anna", "ben", "cleo", "dora")
PROBE = "edit probe 1 0 0"  # changes nothing


class Servers:
    """Three servers of the document, and what they acknowledged."""

    def __init__(self, folder: Path) -> None:
        self.ports = dict(zip(NAMES, free_ports, strict=False))
        places = [f"{name}=localhost:{port}" for name, port in self.ports.items()]
        command = [sys.executable, str(EXAMPLE), str(folder)]
        self.processes = {name: Process(name, [*command, name, *places]) for name in NAMES}
        self.acknowledged: list[str] = []
        self.stopping = threading.Event()

    def ask(self, name: str, line: str) -> str:
        """Return a server's reply; "" if there is none."""
        try:
            with socket.create_connection(("localhost", self.ports[name]), DEADLINE_S) as server:
                server.sendall(f"{line}\n".encode())
                reply = server.makefile("r", encoding="utf-8").readline()
                return reply.removesuffix("\n")
        except OSError:
            return ""

    def edit(self, author: str) -> None:
        """Write marks at the beginning of the document, each until it is acknowledged."""
        servers = itertools.cycle(NAMES)
        for number in itertools.count(1):
            mark = f"<{author}{number}>"
            while self.ask(next(servers), f"edit {author} {number} 0 0 {mark}") != "done":
                if self.stopping.wait(0.01):
                    return
            self.acknowledged.append(mark)

    def wait_for_edits(self, count: int) -> None:
        """Wait until so many more edits are acknowledged."""
        goal = len(self.acknowledged) + count
        eventually(lambda: len(self.acknowledged) >= goal, f"{goal} edits")

    def leader(self) -> str:
        """Return the name of a server that leads, and so answers an edit without a redirection."""
        return eventually(
            lambda: next((name for name in NAMES if self.ask(name, PROBE) == "done"), "")
        )

    def document(self) -> str:
        """Return the document; "" unless all servers show the same one."""
        shown = {self.ask(name, "show") for name in NAMES}
        reply = shown.pop()
        return "" if shown or not reply.startswith('"') else str(json.loads(reply))


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    servers = Servers(tmp_path)
    try:
        yield servers
    finally:
        servers.stopping.set()
        end_all(servers.processes.values())


def test_no_acknowledged_edit_is_lost_through_kills(servers: Servers) -> None:
    """The leader is killed, then each server by itself, one for long, and all at once."""
    processes = servers.processes
    for process in processes.values():
        process.launch()
    writers = [threading.Thread(target=servers.edit, args=(author,)) for author in AUTHORS]
    for writer in writers:
        writer.start()
    servers.wait_for_edits(20)
    for name in (servers.leader(), *NAMES):
        processes[name].kill()
        servers.wait_for_edits(10)
        processes[name].launch()
        servers.wait_for_edits(10)
    processes["s3"].kill()
    servers.wait_for_edits(300)
    processes["s3"].launch().wait_for_line("s3 installs the snapshot")
    end_all(processes.values())
    for process in processes.values():
        process.launch()
    servers.wait_for_edits(20)
    servers.stopping.set()
    for writer in writers:
        writer.join(DEADLINE_S)

    marks = re.findall("<.*?>", eventually(servers.document))
    assert len(marks) == len(set(marks)), "an edit took effect twice"
    assert not set(servers.acknowledged) - set(marks), "an acknowledged edit is lost"
    for author in AUTHORS:
        own = [mark for mark in marks if mark.startswith(f"<{author}")]
        assert own == [f"<{author}{number}>" for number in range(len(own), 0, -1)]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "missing 2 required positional arguments"),
        (["s1"], "'s1'"),
        (["s1", "s1"], "dictionary update sequence"),
        (["s1", "s1=localhost:port"], "invalid literal"),
    ],
)
def test_a_wrong_call_is_answered_with_the_usage(
    tmp_path: Path, arguments: list[str], why: str
) -> None:
    folder = [str(tmp_path)] if arguments else []
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), *folder, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    first, *_ = done.stderr.splitlines()
    assert done.returncode == 1
    assert why in first
    assert "Traceback" not in done.stderr


def test_a_line_without_a_meaning_is_refused(servers: Servers) -> None:
    servers.processes["s1"].launch()
    eventually(lambda: servers.ask("s1", "x"))
    assert servers.ask("s1", "hello").startswith("refused: malformed hello")
    assert servers.ask("s1", "edit anna one").startswith("refused: malformed edit")
    assert servers.ask("s1", "edit anna 1 0 0 Hi") == "not the leader, which is None"
    assert servers.ask("s1", "show") == "no leader"
    stranger = "s9@PreVote 1-0-0"
    assert servers.ask("s1", stranger) == "refused: s9 is not a peer of s1"
