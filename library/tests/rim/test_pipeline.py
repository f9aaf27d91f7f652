"""`kv.pipeline()` and `get_many`, for threads and for asyncio, at nodes with a script."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Callable, Iterator
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from library.tests.rim.pipeline_nodes import Fill, Store, asks_for_no_members, at, of_threads

import raftline
import raftline.aio
from raftline.clients.calls.pipeline import AioPipeline, BasePipeline, Pending, Pipeline
from raftline.clients.kv.kv import KV
from raftline.clients.requests.pipelining import Pipelining
from raftline.clients.requests.search import WINDOW
from raftline.net import line_connection
from raftline.net.dialing import dial
from raftline.wire.refusal import NO_LEADER, error
from raftline_testing.doubles.scripted_node import DEADLINE_S, ScriptedNode
from raftline_testing.nodes.processes import aio_eventually


def of_tasks(at: str, fill: Fill, timeout: float = 30.0) -> None:
    async def run() -> None:
        async with raftline.aio.connect(at, timeout=timeout) as kv:
            kv._asker.addresses.asks(1e12)
            async with kv.pipeline() as batch:
                fill(batch)

    asyncio.run(run())


Run = Callable[..., None]
BOTH = pytest.mark.parametrize("run", [of_threads, of_tasks])
Start = Callable[..., ScriptedNode]


@pytest.fixture
def start() -> Iterator[Start]:
    nodes: list[ScriptedNode] = []

    def start(handler: Callable[[str], str | None]) -> ScriptedNode:
        nodes.append(ScriptedNode(handler))
        return nodes[-1]

    yield start
    for node in nodes:
        node.close()


@BOTH
def test_the_results_are_there_after_the_block_in_one_session(run: Run, start: Start) -> None:
    store = Store()
    node = start(store.answer)
    results: list[Pending[Any]] = []

    def fill(batch: BasePipeline[str]) -> None:
        results.extend([batch.get("a"), *(batch.incr("n") for _ in range(5 * WINDOW))])
        with pytest.raises(RuntimeError, match="at the end of its `with`"):
            results[0].result()
        assert node.received == []
        assert len(batch) == 5 * WINDOW + 1

    run(at(node), fill)
    assert [each.result() for each in results] == [None, *range(1, 5 * WINDOW + 1)]
    assert store.sessions == 1
    numbers = [int(found[1]) for line in node.asked if (found := re.search(r"#(\d+)@", line))]
    assert numbers == [*range(1, 5 * WINDOW + 1)]  # in their order


@BOTH
def test_refusal_is_raised_at_the_end_of_a_pipeline(run: Run, start: Start) -> None:
    """The other requests of a pipeline are done, and the refusal is raised at its end."""
    store = Store()
    results: list[Pending[Any]] = []

    def fill(batch: BasePipeline[str]) -> None:
        results.extend([batch.set("a", "5"), batch.incr("word"), batch.incr("n")])

    with pytest.raises(raftline.Refused, match="not a whole number"):
        run(at(start(store.answer)), fill)
    assert store.pairs == {"a": "5", "n": "1"}
    assert (results[0].result(), results[2].result()) == (None, 1)
    with pytest.raises(raftline.Refused, match="not a whole number"):
        results[1].result()
    assert [repr(each) for each in results[1:]] == [
        "<the result of a request, failed>",
        "<the result of a request, done>",
    ]


@BOTH
def test_broken_connection_costs_and_doubles_no_write(run: Run, start: Start) -> None:
    """If the connection breaks, each write of the pipeline still takes effect once."""
    store = Store()
    done: dict[str, str] = {}
    left = iter(range(7))

    def broken(command: str) -> str | None:
        return None if next(left, None) is None else answered(command)

    def answered(command: str) -> str:
        number = numbers[-1]
        if number and number in done:
            return done[number]
        text = store.answer(command)
        if number:
            done[number] = text
        return text

    numbers: list[str] = [""]
    first, second = start(broken), start(answered)
    results: list[Pending[int]] = []

    def note(node: ScriptedNode) -> Callable[[str], str | None]:
        handler = node.handler

        def handle(command: str) -> str | None:
            numbers.append(node.received[-1].partition("@")[0].partition("#")[2])
            return handler(command)

        return handle

    for node in (first, second):
        node.handler = note(node)

    def fill(batch: BasePipeline[str]) -> None:
        results.extend(batch.incr("n") for _ in range(20))

    run(at(first, second), fill)
    assert [each.result() for each in results] == [*range(1, 21)]
    assert store.sessions == 1


@BOTH
def test_long_replies_are_taken_while_a_long_line_leaves(
    run: Run, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node stops reading until its replies are taken, and the buffers in between are small."""
    store = Store()
    store.pairs["big"] = "x" * 1_000_000
    node = start(store.answer)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        node.listener.setsockopt(socket.SOL_SOCKET, option, 64 << 10)
    results: list[Pending[Any]] = []

    def dial_narrowly(*args: Any) -> Any:
        connection, address = dial(*args)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            connection.setsockopt(socket.SOL_SOCKET, option, 64 << 10)
        return connection, address

    monkeypatch.setattr(line_connection, "dial", dial_narrowly)

    def fill(batch: BasePipeline[str]) -> None:
        batch.set("a", "5")  # it begins the session
        results.extend(batch.get("big") for _ in range(5))
        batch.set("long", "y" * 1_000_000)

    run(at(node), fill, timeout=15.0)
    assert [len(each.result()) for each in results] == [1_000_000] * 5
    assert len(store.pairs["long"]) == 1_000_000
    assert len(node.connections) == 1  # it was not taken for dead meanwhile


@BOTH
def test_a_block_that_raises_sends_nothing(run: Run, start: Start) -> None:
    node = start(Store().answer)
    kept: list[Pending[None]] = []

    def fill(batch: BasePipeline[str]) -> None:
        kept.append(batch.set("a", "5"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(at(node), fill)
    assert node.received == []
    with pytest.raises(RuntimeError, match="at the end of its `with`"):
        kept[0].result()


@BOTH
def test_without_a_leader_it_ends_in_the_time_of_one_request(run: Run, start: Start) -> None:
    """Each request that has not begun by then is refused, and not sent."""
    node = start(lambda _: NO_LEADER)
    results: list[Pending[Any]] = []

    def fill(batch: BasePipeline[str]) -> None:
        results.extend(batch.get(f"k{number}") for number in range(5 * WINDOW))

    with pytest.raises(raftline.NoLeader):
        run(at(node), fill, timeout=1)
    assert len({line.partition("@")[2] for line in node.received}) <= WINDOW
    with pytest.raises(raftline.NoLeader, match="because an earlier request"):
        results[-1].result()


@BOTH
def test_requests_wait_for_a_node_that_hangs_together(run: Run, start: Start) -> None:
    """If each waited by itself, the pipeline would take many times as long."""
    is_over = threading.Event()
    node = start(lambda _: NO_LEADER if is_over.wait(DEADLINE_S) else None)

    def fill(batch: BasePipeline[str]) -> None:
        for number in range(WINDOW - 1):
            batch.get(f"k{number}")

    try:
        with pytest.raises((raftline.NoLeader, raftline.Unreachable)):
            run(at(node), fill, timeout=0.3)
        assert len(node.connections) < WINDOW / 4
    finally:
        is_over.set()


@BOTH
@pytest.mark.parametrize("verb", ["get", "set"])
def test_a_login_that_fails_is_tried_once(
    run: Run, start: Start, verb: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The node waits after each wrong password, and so do others who log in."""
    password = tmp_path / "password"
    password.write_text("wrong")
    password.chmod(0o600)
    monkeypatch.setenv("RAFTLINE_USER", "bob")
    monkeypatch.setenv("RAFTLINE_PASSWORD_FILE", str(password))
    node = start(lambda command: error("the login failed: the name or the password is wrong."))
    requests: list[Pending[Any]] = []

    def fill(batch: BasePipeline[str]) -> None:
        for place in range(3 * WINDOW):
            key = str(place)
            requests.append(batch.get(key) if verb == "get" else batch.set(key, "1"))

    with pytest.raises(raftline.LoginFailed):
        run(at(node), fill)
    assert len(node.asked) == 1
    with pytest.raises(raftline.Unreachable, match="it was not sent"):
        requests[-1].result()


@BOTH
def test_it_takes_nothing_more_once_it_is_over(run: Run, start: Start) -> None:
    kept: list[BasePipeline[str]] = []
    run(at(start(Store().answer)), kept.append)
    assert repr(kept[0]) == "<a pipeline of 0 requests, over>"
    with pytest.raises(RuntimeError, match="this pipeline is over"):
        kept[0].get("a")


def test_what_can_be_no_key_is_refused_where_it_is_added(start: Start) -> None:
    node = start(Store().answer)

    def fill(batch: BasePipeline[str]) -> None:
        batch.set("a", "5")
        batch.set("", "5")

    with pytest.raises(ValueError, match="at least one byte"):
        of_threads(at(node), fill)
    assert node.received == []


def test_a_line_that_is_not_a_reply_breaks_the_connection_alone(start: Start) -> None:
    """The next node is asked for whatever has no reply yet."""
    store = Store()
    first, second = start(lambda _: "x"), start(store.answer)
    first.name = "no name"
    with raftline.connect(at(first, second)) as kv:
        assert kv.get_many(["a", "b"]) == {}


def interrupts_threads(node: ScriptedNode, monkeypatch: pytest.MonkeyPatch) -> Pending[None]:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Pipelining, "_read", interrupted)
    with raftline.connect(at(node)) as kv:
        asks_for_no_members(kv)
        with pytest.raises(KeyboardInterrupt), kv.pipeline() as batch:
            pending = batch.set("a", "1")
    return pending


def cancels_tasks(node: ScriptedNode, monkeypatch: pytest.MonkeyPatch) -> Pending[None]:
    results = []

    async def write(kv: raftline.aio.KV[str]) -> None:
        async with kv.pipeline() as batch:
            results.append(batch.set("a", "1"))

    async def run() -> None:
        async with raftline.aio.connect(at(node)) as kv:
            kv._asker.addresses.asks(1e12)
            writing = asyncio.ensure_future(write(kv))
            await aio_eventually(lambda: node.received, pause_s=0.01)
            writing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await writing

    asyncio.run(run())
    return results[0]


@pytest.mark.parametrize("interrupt", [interrupts_threads, cancels_tasks])
def test_a_request_of_an_interrupted_pipeline_may_be_done(
    interrupt: Callable[[ScriptedNode, pytest.MonkeyPatch], Pending[None]],
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    may_answer = threading.Event()
    pending = interrupt(start(lambda _: may_answer.wait(1.0) and None), monkeypatch)
    may_answer.set()
    with pytest.raises(RuntimeError, match="interrupted, so the request may be done or not"):
        pending.result()
    assert repr(pending) == "<the result of a request, interrupted>"


def test_client_works_after_ctrl_c_in_the_first_pipeline(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client still works after Ctrl-C interrupts the first session of a pipeline."""
    node = start(Store().answer)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with raftline.connect(at(node)) as kv:
        with monkeypatch.context() as patched:
            patched.setattr(Pipelining, "_read", interrupted)
            with pytest.raises(KeyboardInterrupt) as caught, kv.pipeline() as batch:
                batch.set("a", "1")
        kv.set("a", "2")  # while the error, and what it was raised in, is there
        assert caught.value is not None
        assert kv.get("a") == "2"


def test_get_many_returns_the_keys_that_are_there_in_their_order(start: Start) -> None:
    store = Store()
    store.pairs = {"a": "1", "c": "3"}
    node = start(store.answer)
    with raftline.connect(at(node)) as kv:
        assert kv.get_many(["c", "b", "a", "c"]) == {"c": "3", "a": "1"}
        assert list(kv.get_many(["c", "a"])) == ["c", "a"]
        assert kv.get_many([]) == {}
        with pytest.raises(TypeError, match="the keys are a list of keys"):
            kv.get_many("abc")
    assert store.sessions == 0

    async def run() -> dict[str, str]:
        async with raftline.aio.connect(at(node)) as kv:
            return await kv.get_many(["c", "b", "a"])

    assert asyncio.run(run()) == {"c": "3", "a": "1"}


def test_a_pipeline_takes_what_a_client_does_with_one_key() -> None:
    """These are the methods of `KV` that need one reply."""
    several = {"setdefault", "ping"}  # end with more than one reply, or ask each node
    one_key = {
        name
        for name, each in vars(KV).items()
        if not name.startswith("_")
        and callable(each)
        and [*signature(each).parameters][1:2] == ["key"]
    }
    assert len(one_key) > 12
    assert one_key - several <= set(vars(BasePipeline))
    assert issubclass(Pipeline, BasePipeline)
    assert issubclass(AioPipeline, BasePipeline)
