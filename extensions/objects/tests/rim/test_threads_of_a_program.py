"""A thread of a node in a program that meets an error continues, or says what is lost."""

from __future__ import annotations

import errno
import io
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import raftline
from raftline.objects.embedded_server import LOG, Leadership, LogStream
from raftline.storage.disk import EXIT_DISK
from raftline_testing.nodes.processes import DEADLINE_S, free_ports


def test_a_node_in_a_program_that_can_not_stop_cleanly_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = io.StringIO()
    members = {"s1": f"localhost:{next(free_ports)}"}
    node = raftline.Node("s1", members=members, dir=tmp_path, console=console)

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        server = node._server
        patched.setattr(server, "halt", fail)
        node.close()
    assert not node.is_running
    assert node.exit_status == EXIT_DISK
    assert "[!] s1 could not stop cleanly: OSError(5, 'Input/output error')" in console.getvalue()
    server.halt(DEADLINE_S)
    server.listener.end_connections()


def is_over(leadership: Leadership) -> bool:
    """Stop a thread that tells of leaders; return whether it has ended."""
    leadership.stop()
    leadership._thread.join(DEADLINE_S)
    return not leadership._thread.is_alive()


def test_function_that_exits_its_thread_is_called_again() -> None:
    """A function that ends its thread is called at the next change all the same."""
    leadership, calls = Leadership("s1"), threading.Semaphore(0)

    def leave(_: object) -> None:
        calls.release()
        raise SystemExit(1)

    leadership.start()
    leadership.listen(leave)
    assert calls.acquire(timeout=DEADLINE_S)
    leadership.look(cast(Any, SimpleNamespace(leader="s1", term=2)))
    assert calls.acquire(timeout=DEADLINE_S)
    assert is_over(leadership)


def test_line_broken_by_a_filter_costs_no_other(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line that a filter of the program breaks costs no other."""
    troubles = [ValueError("a filter")]

    def breaks(_: object) -> bool:
        if troubles:
            raise troubles.pop()
        return True

    LOG.addFilter(breaks)
    try:
        with caplog.at_level("INFO", "raftline"):
            LogStream().write("[*] one\n[*] two\n")
    finally:
        LOG.removeFilter(breaks)
    assert caplog.messages == ["[*] two"]
    assert "[*] one\n[!] that line could not be logged: ValueError" in capsys.readouterr().err


def test_failing_function_is_called_again_though_the_log_fails() -> None:
    """A function that fails is called at the next change though the log takes no line."""
    leadership, calls = Leadership("s1"), threading.Semaphore(0)

    def fail(_: object) -> bool:
        calls.release()
        raise ValueError("of the program")

    LOG.addFilter(fail)
    try:
        leadership.start()
        leadership.listen(fail)  # type: ignore[arg-type]
        for term in (2, 3):
            assert calls.acquire(timeout=DEADLINE_S)  # of the function
            assert calls.acquire(timeout=DEADLINE_S)  # of the filter
            leadership.look(cast(Any, SimpleNamespace(leader="s1", term=term)))
        assert is_over(leadership)
    finally:
        LOG.removeFilter(fail)
