"""A node that gets no thread as it starts: one line, a status of its own, nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftline import server
from raftline.common.config import FILE_NAME
from raftline_testing.nodes.processes import free_ports
from raftline_testing.nodes.refused_threads import expect_free, refuse


@pytest.mark.parametrize("name", ["console", "s1 owner"])
def test_a_start_without_a_thread_is_refused_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    refuse(monkeypatch, name)
    port = next(free_ports)
    options = ["--register", "--dir", str(tmp_path)]
    assert server.main(["s1", str(port), *options]) == 71
    said = capsys.readouterr().err
    assert said.startswith("[!] can't start new thread, so the node did not start; ")
    assert said.count("\n") == 1
    assert not (tmp_path / FILE_NAME).exists()
    expect_free(port)
