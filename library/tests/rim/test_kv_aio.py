"""asyncio's client at nodes that answer from a script: lines in flight, cancelled and lost ones."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import tracemalloc
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import raftline
import raftline.aio
from raftline.clients.asyncio.asker import AioAsker
from raftline.clients.asyncio.link import Link
from raftline.common.address import Address
from raftline.wire.refusal import not_leader
from raftline_testing.doubles.scripted_node import ScriptedNode, answer_to_codes, store
from raftline_testing.nodes.processes import aio_eventually, eventually

DEADLINE_S = 30.0
LIMIT_S = 0.8
CHANGES = 1000
pytestmark = pytest.mark.usefixtures("event_loops")


class Node:
    """A node whose answers the test gives, each when it wants."""

    def __init__(self, answers: Callable[[str], str | None] | None = None) -> None:
        self.lines: list[str] = []
        self.answers = answers
        self.writers: list[asyncio.StreamWriter] = []
        self.changed = asyncio.Condition()
        self.hears = True  # and answers at least that it puts codes
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with contextlib.suppress(OSError):
            while line := (await reader.readline()).decode().removesuffix("\n"):
                if codes := answer_to_codes(line):
                    writer.write(codes if self.hears else b"")
                    continue
                self.lines.append(line)
                async with self.changed:
                    self.changed.notify_all()
                if self.answers is not None and (text := self.answers(line.partition("@")[2])):
                    self.answer(line, text)

    def answer(self, line: str, text: str) -> None:
        sender = line.partition("@")[0].partition("#")
        self.writers[-1].write(f"s1{sender[1]}{sender[2]}@{text}\n".encode())

    async def has(self, count: int) -> list[str]:
        """Wait for so many lines; return them."""

        async def wait() -> None:
            async with self.changed:
                await self.changed.wait_for(lambda: len(self.lines) >= count)

        await asyncio.wait_for(wait(), DEADLINE_S)
        return self.lines

    def hang_up(self) -> None:
        self.writers[-1].transport.abort()


@contextlib.asynccontextmanager
async def node(answers: Callable[[str], str | None] | None = None) -> AsyncIterator[Node]:
    it = Node(answers)
    server = await asyncio.start_server(it.serve, "127.0.0.1", 0)
    it.port = server.sockets[0].getsockname()[1]
    try:
        yield it
    finally:
        server.close()
        for writer in it.writers:
            writer.transport.abort()


def connected(
    *nodes: Node, timeout: float = DEADLINE_S, learns: bool = False
) -> raftline.aio.KV[str]:
    kv = raftline.aio.connect(",".join(f"127.0.0.1:{each.port}" for each in nodes), timeout=timeout)
    if not learns:
        assert kv._asker.addresses.asks(1e12)  # so nobody asks again before that time
    return kv


def tasks_left() -> list[str]:
    """Return the tasks of this loop besides this one and those of nodes."""
    tasks = [str(each.get_coro()) for each in asyncio.all_tasks() - {asyncio.current_task()}]
    return [each for each in tasks if "Node.serve" not in each]


def session(text: str) -> str | None:
    """Answer what comes before the first write, and that, at once: replies keep their order."""
    return {"session": "SESSION response: p-7", "set first 1": "SET response: done"}.get(text)


def value(text: str) -> str:
    return session(text) or f"GET response: {text.removeprefix('get ')}"


async def test_cancellation_as_a_session_begins_is_kept() -> None:
    """A cancellation in the same turn of the loop as the start of a session is not lost."""
    async with node() as s1, connected(s1) as kv:
        first = asyncio.ensure_future(kv.set("first", "1"))
        begins = (await s1.has(1))[0]
        second = asyncio.ensure_future(kv.set("second", "2"))
        await asyncio.sleep(0)  # it waits for the session
        kv._asker._sessions.when_begun(lambda: second.cancel() and None)  # type: ignore[arg-type]
        s1.answers = lambda text: "SET response: done"
        s1.answer(begins, "SESSION response: p-7")
        await first
        with pytest.raises(asyncio.CancelledError):
            await second
        assert not any("second" in line for line in s1.lines)


async def test_many_requests_are_in_flight_on_one_connection() -> None:
    async with node(session) as s1, connected(s1) as kv:
        await kv.set("first", "1")
        gets = [asyncio.ensure_future(kv.get(f"k{number}")) for number in range(20)]
        sets = [asyncio.ensure_future(kv.set(f"k{number}", "1")) for number in range(20)]
        lines = list(await s1.has(42))[2:]
        assert len(s1.writers) == 1
        for line in lines:
            command = line.partition("@")[2]
            key = command.split()[1]
            text = f"GET response: {key}" if command[:3] == "get" else "SET response: done"
            s1.answer(line, text)
        assert await asyncio.gather(*gets) == [f"k{number}" for number in range(20)]
        await asyncio.gather(*sets)
        numbers = [line.partition("@")[0] for line in lines if "@set" in line]
        assert numbers == [f"p-7#{number}" for number in range(2, 22)]
    assert tasks_left() == []


async def test_cancelled_request_keeps_its_place_and_drops_its_reply() -> None:
    """A cancelled request keeps its place in the order, and its reply is discarded."""
    async with node() as s1, connected(s1) as kv:
        first = asyncio.ensure_future(kv.get("a"))
        second = asyncio.ensure_future(kv.get("b"))
        await s1.has(2)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        for line in s1.lines[:2]:
            s1.answer(line, value(line.partition("@")[2]))
        assert await second == "b"
        assert len(s1.writers) == 1


async def test_lost_connection_has_its_requests_retried_once() -> None:
    """When a connection is lost, each of its requests is sent once to another node."""
    five = node(lambda text: "INCR response: 5")
    async with node(session) as s1, five as s2, connected(s1, s2) as kv:
        adds = [asyncio.ensure_future(kv.incr("n")) for _ in range(3)]
        await s1.has(4)
        s1.hang_up()
        assert await asyncio.gather(*adds) == [5, 5, 5]
        assert sorted(s2.lines) == sorted(s1.lines[1:])
        assert sorted(s2.lines) == [f"p-7#{number}@incr n 1" for number in (1, 2, 3)]


async def test_hanging_node_is_left_with_all_its_requests() -> None:
    """When a node hangs, all requests that it was sent are moved elsewhere."""
    async with node() as s1, node(value) as s2, connected(s1, s2, timeout=4) as kv:
        assert await asyncio.gather(*(kv.get(key) for key in "abc")) == ["a", "b", "c"]
        assert sorted(s1.lines) == sorted(s2.lines)


async def test_silent_connection_is_replaced() -> None:
    """A connection on which nothing arrives is replaced by a new one."""
    async with node() as s1, connected(s1, timeout=4) as kv:
        s1.hears = False
        get = asyncio.ensure_future(kv.get("a"))
        await s1.has(1)
        s1.answers = value
        assert await get == "a"
        assert len(s1.writers) == 2


async def test_short_limit_costs_no_other_request_its_connection() -> None:
    """A request with a short time limit does not close the connection that others use."""
    async with node() as s1, connected(s1) as kv:
        patient = asyncio.ensure_future(kv.get("patient"))
        line = (await s1.has(1))[0]
        for _ in range(3):
            with pytest.raises(raftline.Unreachable):
                await kv.within(0.01).get("hasty")
        s1.answer(line, "GET response: 1")
        assert await patient == "1"
        assert len(s1.writers) == 1


async def test_a_node_that_reads_late_has_no_more_time_for_its_reply() -> None:
    class LateLink(Link):
        """A connection whose node reads on late, and then says nothing."""

        is_full = True

        async def writable(self) -> None:
            await asyncio.sleep(0.75 * LIMIT_S)

    asker = AioAsker([Address("h", 1)], "program", DEADLINE_S)
    loop, link = asyncio.get_running_loop(), LateLink(Address("h", 1), "program")
    begun_s = loop.time()
    with pytest.raises(TimeoutError):
        await asker._exchange(link, b"program@get a", LIMIT_S)
    assert LIMIT_S - 0.002 <= loop.time() - begun_s < 1.5 * LIMIT_S


async def test_requests_follow_the_leader_while_others_are_answered() -> None:
    """Requests move to the new leader while others are still being answered."""
    async with node() as s1, node(value) as s2, connected(s1, s2) as kv:
        first = asyncio.ensure_future(kv.get("a"))
        second = asyncio.ensure_future(kv.get("b"))
        await s1.has(2)
        s1.answer(s1.lines[0], not_leader("s2", "127.0.0.1", s2.port))
        assert await first == "a"
        s1.answer(s1.lines[1], "GET response: of s1")
        assert await second == "of s1"
        assert s2.lines == ["program@get a"]


async def test_changes_between_two_connections_keep_no_memory() -> None:
    """Each node first redirects a request to the other, and always keeps one waiting."""
    sent_on: set[str] = set()

    def late(other: Callable[[], Node]) -> Callable[[str], str | None]:
        waiting: list[str] = []

        def answer_to_the_last_but_one(text: str) -> str | None:
            waiting.append(text)
            if len(waiting) < 2:
                return None
            first = waiting.pop(0)
            if first in sent_on:
                return value(first)
            sent_on.add(first)
            return not_leader("other", "127.0.0.1", other().port)

        return answer_to_the_last_but_one

    async with (
        node(late(lambda: s2)) as s1,
        node(late(lambda: s1)) as s2,
        connected(s1, s2) as kv,
    ):

        async def asks(task: int) -> None:
            for number in range(CHANGES):
                await kv.get(f"{task}-{number}")

        tasks = [asyncio.ensure_future(asks(number)) for number in range(4)]
        await s1.has(CHANGES // 2)
        tracemalloc.start()
        try:
            await s1.has(CHANGES + CHANGES // 2)
            taken = tracemalloc.take_snapshot()
        finally:
            tracemalloc.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        asker = taken.filter_traces([tracemalloc.Filter(True, "*/asyncio/asker.py")])
        kept = sum(each.size for each in asker.traces)
        assert kept < 20 * CHANGES


async def test_a_leader_whose_host_is_not_a_name_is_not_reached() -> None:
    """Only a faulty node would name such a host."""
    nowhere = not_leader("s2", "a..b", 10000)
    async with node(lambda _: nowhere) as s1, connected(s1, timeout=1.5) as kv:
        with pytest.raises(raftline.Unreachable, match=r"name as the leader.* no such host"):
            await kv.get("a")


async def test_a_reply_to_another_number_is_not_an_answer() -> None:
    async with node(session) as s1, connected(s1, timeout=2) as kv:
        add = asyncio.ensure_future(kv.incr("n"))
        await s1.has(2)
        s1.writers[-1].write(b"s1#99@INCR response: 1\n")
        with pytest.raises(raftline.OutcomeUnknown):
            await add


async def test_closing_reports_a_write_in_flight_as_unknown() -> None:
    """When the client is closed, a write in flight ends with an unknown outcome."""
    async with node(session) as s1:
        kv = connected(s1)
        await kv.set("first", "1")
        add = asyncio.ensure_future(kv.incr("n"))
        get = asyncio.ensure_future(kv.get("n"))
        await s1.has(4)
        await kv.close()
        with pytest.raises(raftline.OutcomeUnknown):
            await add
        with pytest.raises(raftline.Unreachable, match="was closed"):
            await get
        with pytest.raises(raftline.Unreachable, match="was closed"):
            await kv.get("a")
        assert repr(kv).endswith(", closed>")
    assert tasks_left() == []


async def test_failed_attempt_without_waiters_is_reported_to_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If nobody waits for an attempt that fails, its error is dropped."""
    loop = asyncio.get_running_loop()
    reported: list[object] = []
    loop.set_exception_handler(lambda _, context: reported.append(context))
    fails = loop.create_future()

    async def connect(*_: object, **__: object) -> object:
        return await fails

    monkeypatch.setattr(loop, "create_connection", connect)
    async with raftline.aio.connect("127.0.0.1:1") as kv:
        with pytest.raises(raftline.Unreachable):
            await kv.within(0.05).get("a")
        connecting = kv._asker._connecting
        (attempt,) = connecting.values()
        fails.set_exception(OSError("no route"))
        await asyncio.wait([attempt])
        assert connecting == {}
    del attempt
    gc.collect()
    assert reported == []


@pytest.mark.parametrize("turns", range(6))
async def test_a_client_closed_as_its_connection_is_made_keeps_none(
    turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`turns` counts those of the event loop between the connection and the close."""

    class Transport(asyncio.Transport):
        is_open = True

        def __init__(self, protocol: asyncio.Protocol) -> None:
            super().__init__()
            self.protocol = protocol

        def abort(self) -> None:
            self.is_open = False
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

        def write(self, data: object) -> None:
            pass

    loop, made = asyncio.get_running_loop(), list[Transport]()
    may_connect: asyncio.Future[None] = loop.create_future()

    async def connect(make: Callable[[], asyncio.Protocol], *_: object, **__: object) -> object:
        await may_connect
        protocol = make()
        made.append(Transport(protocol))
        protocol.connection_made(made[-1])
        return made[-1], protocol

    monkeypatch.setattr(loop, "create_connection", connect)
    kv = raftline.aio.connect("127.0.0.1:1", timeout=0.5)
    asking = asyncio.ensure_future(kv.get("a"))
    await aio_eventually(lambda: asyncio.all_tasks() - {asyncio.current_task(), asking})
    for _ in range(5):  # it waits for the connection now
        await asyncio.sleep(0)
    may_connect.set_result(None)
    for _ in range(turns):
        await asyncio.sleep(0)
    await asyncio.wait_for(kv.close(), DEADLINE_S)
    assert not any(transport.is_open for transport in made)
    with contextlib.suppress(raftline.ClientError):
        await asking


def test_another_event_loop_is_refused_in_words() -> None:
    async def run(kv: raftline.aio.KV[str]) -> None:
        await kv.get("a")

    kv = raftline.aio.connect("127.0.0.1:1", timeout=0.1)
    with pytest.raises(raftline.Unreachable):
        asyncio.run(run(kv))
    with pytest.raises(RuntimeError, match="belongs to another event loop"):
        asyncio.run(run(kv))


async def test_a_value_of_a_megabyte_comes_whole() -> None:
    large = "v" * (1 << 20)
    async with node(lambda text: f"GET response: {large}") as s1, connected(s1) as kv:
        assert await kv.get("a") == large


async def test_a_watch_whose_wait_is_cancelled_loses_nothing() -> None:
    async with node() as s1, connected(s1) as kv:
        watch = kv.watch("a")
        waits = asyncio.ensure_future(watch.next_event())
        lines = await s1.has(1)
        assert lines == ["program@watch a"]
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits
        s1.answer(lines[0], "WATCH response: 0 keys as of 5")
        for number in (6, 7):
            s1.answer(lines[0], f"EVENT {number} set a {number}")
        events = [await watch.next_event(DEADLINE_S) for _ in range(2)]
        assert [event.index for event in events if event is not None] == [6, 7]
        s1.hang_up()
        goes_on = asyncio.ensure_future(watch.next_event(DEADLINE_S))
        assert (await s1.has(2))[1] == "program@watch a after 6"
        s1.answer(lines[0], "WATCH response: goes on after 6")
        s1.answer(lines[0], "EVENT 7 set a 7")
        s1.answer(lines[0], "EVENT 8 delete a")
        event = await goes_on
        assert event is not None
        assert (event.index, event.kind) == (8, "delete")


async def test_a_loop_whose_tasks_are_eager_connects_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Some versions of Python 3.12 and 3.13 can't race connections in eager tasks."""
    loop = asyncio.get_running_loop()
    connect = loop.create_connection

    def eager(*operands: Any, **options: Any) -> Any:
        assert options.get("happy_eyeballs_delay") is None, "as in asyncio/staggered.py"
        return connect(*operands, **options)

    monkeypatch.setattr(loop, "create_connection", eager)
    made = getattr(asyncio, "eager_task_factory", None)  # none before Python 3.12
    loop.set_task_factory(made or (lambda loop, coro, **more: asyncio.Task(coro, **more)))
    async with node(value) as s1, connected(s1) as kv:
        assert await kv.get("a") == "a"


async def test_client_closed_while_asking_for_members_gets_its_reply() -> None:
    """A client that is closed while it asks for members still takes the reply to its write."""
    answers = session  # and nothing to a status
    async with node(answers) as s1, connected(s1, learns=True) as kv:
        setting = asyncio.ensure_future(kv.set("first", "1"))
        assert (await s1.has(3))[2] == "program@status"
        await kv.close()
        await setting


async def test_a_client_that_is_closed_gives_back_its_session() -> None:
    async with node(session) as s1:
        async with connected(s1) as kv:
            await kv.set("first", "1")
            lines = list(s1.lines)
        assert await s1.has(len(lines) + 1) == [*lines, "p-7@forget"]


async def test_client_closed_amid_requests_returns_its_session_last() -> None:
    """A client that is closed during requests returns its session after them."""
    async with node(session) as s1, connected(s1) as kv:
        await kv.set("first", "1")
        lines = list(s1.lines)
        waiting = asyncio.ensure_future(kv.set("b", "2"))
        await asyncio.sleep(0)  # its line is to be sent at the end of this turn
        await kv.close()
        with pytest.raises(raftline.ClientError):
            await waiting
        assert await s1.has(len(lines) + 2) == [*lines, "p-7#2@set b 2", "p-7@forget"]


def test_client_is_closed_after_its_event_loop() -> None:
    """A fixture of pytest-asyncio ends in another loop than the one that used the client."""
    plain = ScriptedNode(store())
    kv = raftline.aio.connect(f"localhost:{plain.port}", timeout=DEADLINE_S)

    async def use() -> None:
        assert await kv.get("ana") == "4"

    asyncio.run(use())
    asyncio.run(kv.close())
    assert kv.state == "closed"
    with pytest.raises(raftline.errors.Closed):
        asyncio.run(kv.get("ana"))
    eventually(lambda: all(each.fileno() < 0 for each in plain.connections), "the node hung up")
    plain.close()


async def test_client_is_not_closed_next_to_its_event_loop() -> None:
    async with node(value) as s1, connected(s1) as kv:
        assert await kv.get("a") == "a"
        with pytest.raises(RuntimeError, match="another event loop; close it there"):
            await asyncio.to_thread(asyncio.run, kv.close())
        assert await kv.get("a") == "a"
