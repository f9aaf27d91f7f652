"""A program's functions, which may raise anything."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from raftline.clients.calls.listeners import ThreadListeners
from raftline.clients.leases.lease_timer import RETRY_S, LeaseTimer
from raftline.clients.requests.health import LOG, ClientHealth
from raftline_testing.nodes.processes import DEADLINE_S, eventually
from raftline_testing.nodes.refused_threads import refuse


def listening(call: Callable[[str], object]) -> ClientHealth:
    health = ClientHealth()
    ThreadListeners(health, "kv").add(call)
    return health


def test_a_listener_that_ends_its_thread_is_called_again() -> None:
    calls = threading.Semaphore(0)

    def leave(_: str) -> None:
        calls.release()
        raise SystemExit(1)

    health = listening(leave)
    health.served(time.monotonic())
    assert calls.acquire(timeout=DEADLINE_S)
    health.failed(time.monotonic(), "localhost", "nobody")
    assert calls.acquire(timeout=DEADLINE_S)
    health.close()


def test_failing_listener_is_called_again_though_the_log_fails() -> None:
    """A listener that raises is called again, even if logging the error fails."""
    calls = threading.Semaphore(0)

    def fail(_: object) -> bool:
        calls.release()
        raise ValueError("of the program")

    LOG.addFilter(fail)
    try:
        health = listening(fail)
        for change in (health.served, lambda now_s: health.failed(now_s, "localhost", "nobody")):
            change(time.monotonic())
            assert calls.acquire(timeout=DEADLINE_S)  # of the listener
            assert calls.acquire(timeout=DEADLINE_S)  # of the filter
        health.close()
        assert calls.acquire(timeout=DEADLINE_S)
    finally:
        LOG.removeFilter(fail)


def test_a_client_changes_its_state_though_the_log_takes_no_line() -> None:
    lines: list[object] = []

    def fail(line: object) -> bool:
        lines.append(line)
        raise ValueError("of the program")

    health, states = ClientHealth(), list[str]()
    health.on_change = states.append
    LOG.addFilter(fail)
    try:
        health.served(1.0)
        health.failed(2.0, "localhost", "nobody")
        health.failed(100.0, "localhost", "nobody")
        health.served(101.0)
    finally:
        LOG.removeFilter(fail)
    assert states == ["connected", "suspended", "lost", "connected"]
    assert len(lines) == 2


def test_a_lease_is_renewed_again_though_the_log_takes_no_line() -> None:
    def fail(_: object) -> bool:
        raise ValueError("of a filter")

    timer = LeaseTimer("lease-1", 10, 0.0)
    LOG.addFilter(fail)
    try:
        timer.report(1.0)
    finally:
        LOG.removeFilter(fail)
    assert timer.due_s == 1.0 + RETRY_S


def test_unreported_change_is_reported_with_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """If no thread could report a change, it is reported with the next one."""
    states: list[str] = []
    health = listening(states.append)

    with monkeypatch.context() as patched:
        refuse(patched)
        health.served(time.monotonic())  # a request does not fail by it
    health.close()
    eventually(lambda: states == ["connected", "closed"])
