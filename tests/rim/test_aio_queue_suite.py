"""CPython's own tests of asyncio's queues, on `ReplicatedQueue(…).awaitable`.

`test.test_asyncio.test_queues` counts turns of the event loop, and each of these calls has a
thread. So no time passes here: a turn of the loop lasts until each thread has ended or waits for a
change of the queue. docs/use/objects.md ("Differences from Python's own types") lists the
intended differences.
"""

from __future__ import annotations

import asyncio
import itertools
import queue
import sys
import threading
import unittest
from typing import Any

import pytest

import raftline
from raftline.objects import waiting
from tests.rim.cpython_suites import cases_of, problems
from tests.rim.test_replicated import Cluster as OneNode

WHY = "this Python comes without its own tests"
of_queues = pytest.importorskip("test.test_asyncio.test_queues", reason=WHY)
pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="its tests want a TaskGroup")
TURNS = 8  # of the loop, after which what a thread handed over has had its effect
_numbers = itertools.count()
_sleep = asyncio.sleep


class Progress:
    """The threads that are at work, and how often the queue has changed."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.changes = 0
        self.at_work = 0
        self.waiting = 0
        self.seen = threading.local()  # the count of changes at a thread's latest look

    def change(self) -> None:
        """Have all that wait look again."""
        with self.changed:
            self.changes += 1
            self.at_work, self.waiting = self.at_work + self.waiting, 0
            self.changed.notify_all()

    def begin(self) -> None:
        with self.changed:
            self.at_work += 1

    def end(self) -> None:
        with self.changed:
            self.at_work -= 1
            self.changed.notify_all()

    def look(self) -> None:
        self.seen.changes = self.changes

    def wait(self, is_given_up: threading.Event) -> None:
        """Wait until the queue has changed since this thread's latest look."""
        with self.changed:
            if self.changes == self.seen.changes and not is_given_up.is_set():
                self.at_work, self.waiting = self.at_work - 1, self.waiting + 1
                self.changed.notify_all()
                seen = self.changes
                self.changed.wait_for(lambda: self.changes > seen)

    def until_all_wait(self) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: not self.at_work, timeout=30.0)


PROGRESS = Progress()


class GivenUp(threading.Event):
    """An event whose wait ends with a change of the queue, and by no time."""

    def set(self) -> None:
        super().set()
        PROGRESS.change()

    def wait(self, timeout: float | None = None) -> bool:
        PROGRESS.wait(self)
        return self.is_set()


class Thread(threading.Thread):
    """A thread that has ended, or waits, once `start` returns: so threads take turns."""

    def start(self) -> None:
        PROGRESS.begin()
        super().start()
        PROGRESS.until_all_wait()

    def run(self) -> None:
        try:
            super().run()
        finally:
            PROGRESS.end()


class Threading:
    """The module threading, with these."""

    Thread, Event = Thread, GivenUp

    def __getattr__(self, name: str) -> Any:
        return getattr(threading, name)


class Cluster(OneNode):
    """A node in memory that reports each change."""

    def request(self, command: str, timeout: float | None = None) -> str:
        PROGRESS.look()
        reply = super().request(command, timeout)
        if not command.startswith("get ") and reply.startswith("OBJECT response: "):
            PROGRESS.change()
        return reply


class Queue:
    """The awaitable form for what waits, and the queue itself for what does not."""

    def __init__(self, maxsize: int = 0) -> None:
        self._queue = raftline.ReplicatedQueue(f"n{next(_numbers)}", Cluster(), maxsize=maxsize)
        self.get, self.put = self._queue.awaitable.get, self._queue.awaitable.put
        self.qsize, self.empty, self.full = (
            self._queue.qsize, self._queue.empty, self._queue.full,
        )  # fmt: skip
        self.maxsize = maxsize

    def get_nowait(self) -> Any:
        try:
            return self._queue.get_nowait()
        except queue.Empty:
            raise asyncio.QueueEmpty from None
        finally:
            PROGRESS.until_all_wait()

    def put_nowait(self, item: object) -> None:
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            raise asyncio.QueueFull from None
        finally:
            PROGRESS.until_all_wait()


async def sleep(seconds: float) -> None:
    """Let all tasks and threads go on until they wait."""
    for _ in range(TURNS):
        await _sleep(0)
        PROGRESS.until_all_wait()
    if seconds:
        await _sleep(seconds)


class Asyncio:
    """The module asyncio, with another queue, whose turns take longer."""

    Queue, sleep = Queue, staticmethod(sleep)

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)


@pytest.fixture(autouse=True)
def turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "threading", Threading())
    monkeypatch.setattr(of_queues, "asyncio", Asyncio())


INSIDE = "looks into asyncio's own queue"
REPR = "`repr` shows what is in it"
DIFFER = {
    "test_cancelled_getters_not_being_held_in_self_getters": INSIDE,
    "test_cancelled_puts_not_being_held_in_self_putters": INSIDE,
    "test_get_with_putters": INSIDE,
    "test_float_maxsize": "a fraction as `maxsize`, `Queue[int]`",
    "test_generic_alias": "a fraction as `maxsize`, `Queue[int]`",
    "test_repr": REPR,
    "test_str": REPR,
}
LEFT_OUT = {
    "test_put_cancel_drop",  # a put that was cancelled took effect, so it would wait for ever
    "test_put_cancelled",  # that a put ends before the get of its item does: these are two threads
}
SUITES = (of_queues.QueueBasicTests, of_queues.QueueGetTests, of_queues.QueuePutTests)


@pytest.mark.parametrize(("suite", "name"), cases_of(SUITES, LEFT_OUT))
def test_an_awaitable_queue_is_one_as_asyncio_s_tests_have_it(
    suite: type[unittest.TestCase], name: str
) -> None:
    found = problems(suite, name)
    assert bool(found) == (name in DIFFER), found
