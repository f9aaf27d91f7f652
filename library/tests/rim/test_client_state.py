"""`kv.state`, its listeners and what the log gets, by a clock of the test and at scripted nodes."""

from __future__ import annotations

import asyncio
import logging
import math
import queue
import threading
import time
from collections.abc import Callable

import pytest

import raftline
import raftline.aio
from raftline.clients.calls.listeners import ThreadListeners
from raftline.clients.requests import health
from raftline.clients.requests.health import LOST_S, ClientHealth
from raftline.wire.refusal import NO_LEADER
from raftline_testing.doubles.scripted_node import DEADLINE_S, Start
from raftline_testing.nodes.processes import eventually

DONE = "GET response: 5"
NOT_SERVED = (raftline.NoLeader, raftline.Unreachable)  # the latter on a busy machine


def test_a_client_is_suspended_lost_and_connected_again() -> None:
    seen: list[str] = []
    one = ClientHealth()
    one.on_change = seen.append
    assert one.state(0.0) == "suspended"
    one.served(1.0)
    assert one.state(1000.0) == "connected"
    one.failed(1000.0, "h1 port 1", "it is gone")
    assert one.state(1000.0 + LOST_S - 0.1) == "suspended"
    assert one.state(1000.0 + LOST_S) == "lost"
    one.failed(1000.0 + LOST_S - 0.1, "h1 port 1", "it is gone")
    one.failed(1000.0 + LOST_S, "h1 port 1", "it is gone")
    one.failed(2000.0, "h1 port 1", "it is gone")
    one.served(2001.0)
    one.served(2002.0)
    assert seen == ["connected", "suspended", "lost", "connected"]


def test_the_loss_is_a_change_once_its_time_is_looked_at() -> None:
    seen: list[str] = []
    one = ClientHealth()
    one.on_change = seen.append
    one.on_wait = lambda: seen.append(f"until {one.lost_s:g}")
    one.look(1000.0)
    one.failed(1000.0, "h1 port 1", "it is gone")
    one.failed(1001.0, "h1 port 1", "it is gone")
    one.look(1000.0 + LOST_S - 0.1)
    assert seen == ["until 1010"]
    one.look(1000.0 + LOST_S)
    one.look(2000.0)
    one.failed(2000.0, "h1 port 1", "it is gone")
    assert seen == ["until 1010", "lost"]
    one.served(2001.0)
    assert seen[2:] == ["connected"]
    assert one.lost_s == math.inf


def test_long_outage_is_logged_at_its_start_and_end(caplog: pytest.LogCaptureFixture) -> None:
    """A long outage has one line in the log when it is noticed and one when it ends."""
    caplog.set_level(logging.WARNING, "raftline")
    one = ClientHealth()
    one.failed(0.0, "h1 port 1", "it is gone")
    one.failed(100.0, "h1 port 1", "it is gone")  # never served: its call reports that
    assert caplog.messages == []
    for now_s in (1000.0, 2000.0):
        one.served(now_s)
        one.failed(now_s + 1, "h1 port 1", "it is gone")
        one.served(now_s + LOST_S)  # a short time is not logged
    assert caplog.messages == []
    one.failed(3000.0, "h1 port 1", "it is gone")
    one.failed(3000.0 + LOST_S, "h1 port 1", "it is gone")
    one.failed(3100.0, "h1 port 1", "it is gone")
    one.served(3200.0)
    lines = caplog.messages
    assert len(lines) == 2
    assert lines[0].startswith("no node has served for 10 s")
    assert lines[0].endswith("asked in turn: h1 port 1. The last one: it is gone")
    assert lines[1] == "a node serves again, after 200 s"


def test_thread_listener_is_called_in_order_by_its_own_thread(start: Start) -> None:
    """A listener of a client for threads is called in order, by a thread of its own."""
    answers = {"get a": DONE}
    node = start(lambda message: answers.get(message, NO_LEADER))
    news: queue.Queue[tuple[str, str]] = queue.Queue()

    def broken(_: str) -> None:
        raise ValueError("of the program")

    def listener(state: str) -> None:
        news.put((state, threading.current_thread().name))

    with raftline.connect(f"localhost:{node.port}", timeout=DEADLINE_S) as kv:
        assert kv.state == "suspended"
        kv.add_listener(broken)
        kv.add_listener(listener)
        assert kv["a"] == "5"
        assert kv.state == "connected"
        with pytest.raises(NOT_SERVED):
            kv.within(0.2)["b"]
        assert kv.state == "suspended"
        assert kv["a"] == "5"
        name = "program reports its state"
        for state in ("connected", "suspended", "connected"):
            assert news.get(timeout=DEADLINE_S) == (state, name)
        kv.remove_listener(listener)
        with pytest.raises(NOT_SERVED):
            kv.within(0.2)["b"]
        with pytest.raises(ValueError, match="was not added"):
            kv.remove_listener(listener)
    assert news.empty()


def test_threads_that_change_the_state_leave_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    one = ClientHealth()
    listeners = ThreadListeners(one, "program")
    timers: list[threading.Timer] = []

    def call_later(seconds: float, call: Callable[[], None]) -> threading.Timer:
        timer = threading.Timer(seconds, call)  # it is never started
        time.sleep(0.01)  # so that other threads come in between
        timers.append(timer)
        return timer

    monkeypatch.setattr(listeners, "_call_later", call_later)
    one.failed(time.monotonic(), "h1 port 1", "it is gone")
    several = [threading.Thread(target=listeners.add, args=(print,)) for _ in range(8)]
    for thread in several:
        thread.start()
    for thread in several:
        thread.join()
    assert [timer.finished.is_set() for timer in timers] == [True] * 7 + [False]
    listeners.close()
    assert all(timer.finished.is_set() for timer in timers)


async def test_a_listener_of_tasks_is_called_by_the_event_loop(start: Start) -> None:
    answers = {"get a": DONE}
    node = start(lambda message: answers.get(message, NO_LEADER))
    seen: list[str] = []

    def listener(state: str) -> None:
        asyncio.get_running_loop()
        seen.append(state)

    async def coroutine(_: str) -> None: ...

    async with raftline.aio.connect(f"localhost:{node.port}", timeout=DEADLINE_S) as kv:
        with pytest.raises(TypeError, match="plain function"):
            kv.add_listener(coroutine)
        kv.add_listener(listener)
        assert await kv.get("a") == "5"
        assert kv.state == "connected"
        with pytest.raises(NOT_SERVED):
            await kv.within(0.2).get("b")
        assert kv.state == "suspended"
        kv.remove_listener(listener)
        assert await kv.get("a") == "5"
        kv.add_listener(listener)
    assert kv.state == "closed"
    await asyncio.sleep(0)  # the loop calls the listener
    assert seen == ["connected", "suspended", "closed"]


def test_a_client_that_was_closed_stays_so(start: Start) -> None:
    node = start(lambda _: DONE)
    news: queue.Queue[str] = queue.Queue()
    kv = raftline.connect(f"localhost:{node.port}")
    kv.add_listener(news.put)
    assert kv["a"] == "5"
    kv.close()
    kv.close()
    with pytest.raises(raftline.errors.Closed):
        kv["a"]
    assert kv.state == "closed"
    assert [news.get(timeout=DEADLINE_S) for _ in range(2)] == ["connected", "closed"]
    one = ClientHealth()
    one.close()
    one.served(1.0)
    one.failed(2.0, "h1 port 1", "it is gone")
    assert one.state(2.0 + LOST_S) == "closed"  # also after the answer of a late request


def test_thread_listener_is_called_as_soon_as_state_is_lost(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener of a client for threads is called as soon as the state is lost."""
    node = start(lambda _: NO_LEADER)
    news: queue.Queue[str] = queue.Queue()
    with raftline.connect(f"localhost:{node.port}", timeout=0.2, name="waiting") as kv:
        with pytest.raises(NOT_SERVED):
            kv["a"]
        name = "waiting reports its state"
        assert name not in [each.name for each in threading.enumerate()]  # nobody listens
        kv.add_listener(news.put)
        eventually(lambda: name in [each.name for each in threading.enumerate()])
        assert news.empty()
        monkeypatch.setattr(health, "LOST_S", 0.0)
        kv.add_listener(news.put)  # which has the thread look at the clock
        assert [news.get(timeout=DEADLINE_S) for _ in range(2)] == ["lost", "lost"]
        eventually(lambda: name not in [each.name for each in threading.enumerate()])


def test_a_closed_client_waits_for_no_loss(start: Start) -> None:
    node = start(lambda _: NO_LEADER)
    with raftline.connect(f"localhost:{node.port}", timeout=0.2, name="closing") as kv:
        kv.add_listener(lambda _: None)
        with pytest.raises(NOT_SERVED):
            kv["a"]
        name = "closing reports its state"
        eventually(lambda: name in [each.name for each in threading.enumerate()])
    eventually(lambda: name not in [each.name for each in threading.enumerate()])


async def test_task_listener_is_called_as_soon_as_state_is_lost(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener of a client for asyncio is called as soon as the state is lost."""
    node = start(lambda _: NO_LEADER)
    news: asyncio.Queue[str] = asyncio.Queue()
    async with raftline.aio.connect(f"localhost:{node.port}", timeout=0.2) as kv:
        kv.add_listener(news.put_nowait)
        with pytest.raises(NOT_SERVED):
            await kv.get("a")
        assert kv.state == "suspended"
        monkeypatch.setattr(health, "LOST_S", 0.0)
        kv.add_listener(news.put_nowait)  # which sets the timer anew
        for _ in range(2):
            assert await asyncio.wait_for(news.get(), DEADLINE_S) == "lost"
        assert kv.state == "lost"


@pytest.mark.parametrize("silence", [0, 0.5, -1, float("nan"), float("inf")])
def test_a_silence_that_can_not_be_one_is_refused_in_words(silence: float) -> None:
    with pytest.raises(ValueError, match="give at least 1 second"):
        raftline.connect("h1:1", silence=silence)
    with pytest.raises(ValueError, match="give at least 1 second"):
        raftline.aio.connect("h1:1", silence=silence)
    with pytest.raises(TypeError, match="number of seconds"):
        raftline.connect("h1:1", silence="5")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="number of seconds"):
        raftline.connect("h1:1", silence=True)
