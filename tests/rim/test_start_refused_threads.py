"""A node that gets no thread as it starts: one line, a status of its own, nothing left behind."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from raftline import server
from raftline.common.config import FILE_NAME
from raftline_course.harness.processes import free_ports


def refuse(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Have the system begin no thread of that name."""
    start = threading.Thread.start

    def start_or_not(thread: threading.Thread) -> None:
        if thread.name == name:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_or_not)


@pytest.mark.parametrize("name", ["console", "s1 http", "s1 http answers", "s1 cores", "s1 owner"])
def test_a_start_without_a_thread_is_refused_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    refuse(monkeypatch, name)
    port, door = next(free_ports), next(free_ports)
    options = ["--register", "--dir", str(tmp_path), "--http", str(door)]
    assert server.main(["s1", str(port), *options]) == 71
    said = capsys.readouterr().err
    assert said.startswith("[!] can't start new thread, so the node did not start; ")
    assert said.count("\n") == 1
    assert not (tmp_path / FILE_NAME).exists()
    for each in (port, door):
        with socket.create_server(("localhost", each)):
            pass  # it is free
