"""A system that begins no thread of some name, and what a refused start leaves behind."""

from __future__ import annotations

import socket
import threading

import pytest


def refuse(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Have the system begin no thread of that name."""
    start = threading.Thread.start

    def start_or_not(thread: threading.Thread) -> None:
        if thread.name == name:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_or_not)


def expect_free(port: int) -> None:
    """Check that nobody listens on a port."""
    with socket.create_server(("localhost", port)):
        pass
