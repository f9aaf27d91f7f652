"""A node's reports to systemd."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from raftline.monitoring.systemd import notify, watchdog_s


@pytest.mark.parametrize("is_abstract", [False, True])
def test_systemd_is_notified_at_a_path_or_an_abstract_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_abstract: bool
) -> None:
    path = f"@{tmp_path}" if is_abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + path[1:] if is_abstract else path)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        assert notify("READY=1", "STATUS=well")
        assert systemd.recv(100) == b"READY=1\nSTATUS=well"


@pytest.mark.parametrize("path", ["", "relative", "/nowhere/at/all"])
def test_nobody_is_notified_if_nobody_listens(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    assert not notify("READY=1")


def test_the_watchdog_of_another_process_is_not_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert watchdog_s() is None
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    assert watchdog_s() == 3
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert watchdog_s() is None
    monkeypatch.setenv("WATCHDOG_PID", "")
    monkeypatch.setenv("WATCHDOG_USEC", "0")
    assert watchdog_s() is None
