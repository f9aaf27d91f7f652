"""The driver of a node that is alone: each request is answered once, and none is left lying."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from raftline.logmanager import LogManager
from raftline.net.protocol.host import Batch
from raftline.node.clock import SYSTEM
from raftline.node.loop import driver as drivers
from raftline.node.loop import queue, stepper, writer
from raftline.node.loop.driver import Driver
from raftline.raft.membership import Membership
from raftline.raft.node import node_from_disk
from raftline.raft.state import Options
from raftline.wire.commands.parsing import BY_ROUND, Reading
from raftline_testing.doubles.fake_rim import FakeRim
from raftline_testing.files.faulty_folder import MemoryFolder
from raftline_testing.interleave.scenarios import check_interleavings, seeds
from raftline_testing.interleave.threads import Thread

LINES = (drivers, queue, stepper, writer)
ALONE = {"s1": "localhost:10000"}
CLIENTS = 3
PROMPT_S = 0.2  # in which requests that gather are served; the owner looks by itself each second
AMID_STEPS = 300
UNKNOWN = "Sorry, outcome unknown: this server is stopping"
STOPPING = "Sorry, this server is stopping. Nothing was done; try another."


class Sink:
    """A connection that keeps its replies."""

    user: str | None = None

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.answers = 0
        self.left = threading.Event()

    def mark_ready(self) -> None:
        self.answers += 1
        self._driver.ready_sinks.append(self)

    def flush(self) -> None:
        self.left.set()

    def break_off(self) -> None:
        raise AssertionError("a connection was ended")

    def keep(self, batch: Batch, replies: list[str]) -> list[str]:
        return replies


def leader() -> Driver:
    """Return the driver of a leader."""
    manager = LogManager("s1", MemoryFolder(), ALONE)
    recovered = manager.recover()
    options = Options(election_timeout_ms=60_000, heartbeat_ms=20_000)
    members = Membership(tuple(ALONE), addresses=ALONE)
    log, state = recovered.log, recovered.hard_state
    node = node_from_disk("s1", members, log, state, options, lambda: 10, SYSTEM.now_ms())
    driver = Driver(node, manager, FakeRim(), hold_ms=60_000)
    driver.start("s1")
    while not node.view.is_leader or node.view.applied < 1:
        time.sleep(0.01)
    return driver


def ask(driver: Driver, command: str, **more: Any) -> str:
    """Ask one request; return its reply."""
    sink = Sink(driver)
    batch = Batch([command], reply_sink=sink, **more)
    begun_s = time.monotonic()
    driver.submit(batch)
    sink.left.wait()
    if Thread.schedule.is_punctual:
        assert time.monotonic() - begun_s < PROMPT_S, f"{command} was left lying"
    assert sink.answers == 1, f"{command} was answered {sink.answers} times"
    replies = batch.replies
    if not replies:
        assert batch.reader is not None
        replies = batch.reader.read([command])
    assert len(replies) == 1
    return replies[0]


def clients_ask(made: Callable[[], Driver] = leader) -> None:
    """Clients write, and read what they wrote."""
    driver = made()

    def work(key: str) -> None:
        for value in "12":
            assert ask(driver, f"set {key} {value}", is_read=False) == (
                f"SET response: {key} set to {value}"
            )
            reading = BY_ROUND if value == "1" else Reading(by_lease=True)
            reply = ask(driver, f"get {key}", is_read=True, reading=reading)
            assert reply == f"GET response: {value}"

    threads = [threading.Thread(target=work, args=(f"k{n}",)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    waiting = driver.waiting()
    assert not any(waiting.values()), waiting


def it_stops_amid_requests() -> None:
    """Each is answered: with what was done, or that nothing was, or that nobody knows."""
    driver, schedule = leader(), Thread.schedule
    replies: dict[str, str] = {}

    def work(key: str) -> None:
        replies[key] = ask(driver, f"set {key} 1", is_read=False)

    threads = [threading.Thread(target=work, args=(f"k{n}",)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for _ in range(schedule.random.randrange(AMID_STEPS)):
        schedule.step()
    driver.stop(60.0)
    for thread in threads:
        thread.join()
    log = driver.node.view.log
    written = [entry.command for entry in log.entries(1, log.last_index)]
    for key, reply in replies.items():
        assert reply in (UNKNOWN, STOPPING, f"SET response: {key} set to 1")
        assert reply != STOPPING or f"set {key} 1" not in written, f"{key} was done after all"
    assert driver.has_written or not Thread.schedule.is_punctual


@seeds(60, 20_000)
def test_each_request_is_answered_once_and_none_is_left_lying(seeds: range) -> None:
    check_interleavings(clients_ask, seeds, LINES)


@seeds(60, 20_000)
def test_a_node_that_stops_answers_everybody(seeds: range) -> None:
    check_interleavings(it_stops_amid_requests, seeds, LINES)
