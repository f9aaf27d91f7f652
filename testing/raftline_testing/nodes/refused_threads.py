"""A system that begins no thread of some name, and what a refused start leaves behind."""

from __future__ import annotations

import _thread
import socket
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from raftline.common.process import guarded_thread


def refuse(monkeypatch: pytest.MonkeyPatch, name: str = "") -> None:
    """Make the system begin no thread of that name, or none at all."""
    start = threading.Thread.start

    def start_or_not(thread: threading.Thread) -> None:
        if name in ("", thread.name):
            raise RuntimeError("can't start new thread")
        start(thread)

    def begin_or_not(run: Callable[..., object], arguments: tuple[Any, ...]) -> int:
        if name in ("", run.__self__.name):  # type: ignore[attr-defined]
            raise RuntimeError("can't start new thread")
        return _thread.start_new_thread(run, arguments)

    monkeypatch.setattr(threading.Thread, "start", start_or_not)
    threads = SimpleNamespace(start_new_thread=begin_or_not, get_ident=_thread.get_ident)
    monkeypatch.setattr(guarded_thread, "_thread", threads)


def lose(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Make each thread of that name die before it begins, as where memory is short."""

    def begin_or_lose(run: Callable[..., object], arguments: tuple[Any, ...]) -> int:
        if run.__self__.name == name:  # type: ignore[attr-defined]
            return 0
        return _thread.start_new_thread(run, arguments)

    threads = SimpleNamespace(start_new_thread=begin_or_lose, get_ident=_thread.get_ident)
    monkeypatch.setattr(guarded_thread, "_thread", threads)
    monkeypatch.setattr(guarded_thread, "LOST_S", 0.0)


def expect_free(port: int) -> None:
    """Check that nobody listens on a port."""
    with socket.create_server(("localhost", port)):
        pass
