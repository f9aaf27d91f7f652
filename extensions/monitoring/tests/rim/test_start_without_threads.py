"""A node whose pages get no thread as it starts: one line, a status of its own, nothing left."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftline import server
from raftline.common.config import FILE_NAME
from raftline_testing.nodes.processes import free_ports
from raftline_testing.nodes.refused_threads import expect_free, refuse


@pytest.mark.parametrize("name", ["s1 http", "s1 http answers", "s1 owner"])
def test_start_without_a_thread_for_pages_frees_both_ports(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    """A start without a thread for pages leaves both ports free."""
    refuse(monkeypatch, name)
    port, door = next(free_ports), next(free_ports)
    options = ["--register", "--dir", str(tmp_path), "--http", str(door)]
    assert server.main(["s1", str(port), *options]) == 71
    assert capsys.readouterr().err.startswith("[!] can't start new thread, so the node did not")
    assert not (tmp_path / FILE_NAME).exists()
    expect_free(port)
    expect_free(door)
