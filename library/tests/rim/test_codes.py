"""Clients ask for codes on each connection, and go by these, whatever a sentence says."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

import raftline
import raftline.aio
from raftline import client as program
from raftline.clients.asyncio.link import Link
from raftline.clients.connections.node_connection import NoLeader
from raftline.common.address import Address
from raftline.net.line_connection import ConnectionEnded
from raftline.wire.operands.operands import not_understood
from raftline.wire.protocol import CODES
from raftline.wire.refusal import FULL, error
from raftline_testing.doubles.in_process import run_main
from raftline_testing.doubles.scripted_node import DEADLINE_S

Answer = Callable[[str], "str | None"]
OLD = error(not_understood("codes"))


class RawNode:
    """Answers each line with what `answer` returns for it, as it stands; None ends the connection.
    `greeting` is sent at once."""

    def __init__(self, answer: Answer, greeting: str = "") -> None:
        self.answer, self.greeting = answer, greeting
        self.lines: list[str] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def at(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as lines:
            if self.greeting:
                connection.sendall(self.greeting.encode())
                connection.shutdown(socket.SHUT_WR)
            for raw in lines:
                line = raw.decode().removesuffix("\n")
                self.lines.append(line)
                answer = self.answer(line)
                if answer is None:
                    return
                if not self.greeting:
                    connection.sendall(answer.encode())


@pytest.fixture
def start() -> Iterator[Callable[..., RawNode]]:
    nodes: list[RawNode] = []

    def start_node(answer: Answer, greeting: str = "") -> RawNode:
        nodes.append(RawNode(answer, greeting))
        return nodes[-1]

    yield start_node
    for node in nodes:
        node.listener.close()


def value_by_thread(at: str, timeout: float = DEADLINE_S) -> str | None:
    with raftline.connect(at, timeout=timeout) as kv:
        return kv["a"]


def value_by_task(at: str, timeout: float = DEADLINE_S) -> str | None:
    async def get() -> str | None:
        async with raftline.aio.connect(at, timeout=timeout) as kv:
            return await kv.get("a")

    return asyncio.run(get())


def event_by_thread(at: str, timeout: float = DEADLINE_S) -> str | None:
    with raftline.connect(at, timeout=timeout) as kv, kv.watch("a") as watch:
        return next(watch).value


def event_by_task(at: str, timeout: float = DEADLINE_S) -> str | None:
    async def get() -> str | None:
        async with raftline.aio.connect(at, timeout=timeout) as kv, kv.watch("a") as watch:
            return (await anext(watch)).value

    return asyncio.run(get())


BY_REQUEST = [value_by_thread, value_by_task]
ALL = [*BY_REQUEST, event_by_thread, event_by_task]
Get = Callable[..., "str | None"]


def answered(line: str, codes: str = f"s1#0@{CODES}\n") -> str:
    """Return the answers of a node that serves."""
    before, _, command = line.partition("@")
    number = before.partition("#")[2]
    me = f"s1#{number}" if number else "s1"
    if command == "codes":
        return codes
    if command.startswith("watch"):
        return f"{me}@WATCH response: 1 key as of 4\n{me}@EVENT 4 has a 5\n"
    if command == "status":
        return f"{me}@STATUS response: {{}}\n"
    return f"{me}@GET response: 5\n"


@pytest.mark.parametrize("get", ALL)
def test_each_connection_asks_for_codes_before_anything_else(
    start: Callable[..., RawNode], get: Get
) -> None:
    node = start(answered)
    assert get(node.at) == "5"
    assert node.lines[0] == "program#0@codes"
    assert sum("@codes" in line for line in node.lines) == 1


@pytest.mark.parametrize("get", ALL)
@pytest.mark.parametrize("codes", [f"s1#0@{OLD}\n", f"s1@{OLD}\n"])
def test_older_node_without_codes_is_asked_all_the_same(
    start: Callable[..., RawNode], get: Get, codes: str
) -> None:
    """A client also works with a node of an earlier build, which does not know codes."""
    node = start(lambda line: answered(line, codes))
    assert get(node.at) == "5"


@pytest.mark.parametrize("get", BY_REQUEST)
def test_leader_is_found_by_code_whatever_the_sentence(
    start: Callable[..., RawNode], get: Get
) -> None:
    """The code of a redirect suffices; the sentence may change."""
    leader = start(answered)
    refusal = f"s2@Sorry [not-leader s1 {leader.at}] Es führt ein anderer.\n"
    other = start(lambda line: answered(line) if "@codes" in line else refusal)
    assert get(other.at) == "5"


@pytest.mark.parametrize("get", ALL)
def test_node_that_says_it_is_full_is_left_for_another(
    start: Callable[..., RawNode], get: Get
) -> None:
    """A client leaves a node that reports at once that it is full."""
    full = start(answered, f"s2@{FULL}\n")
    assert get(f"{full.at},{start(answered).at}") == "5"


@pytest.mark.parametrize("get", BY_REQUEST)
def test_refusal_of_a_full_node_is_not_the_answer_to_codes(
    start: Callable[..., RawNode], get: Get
) -> None:
    """The refusal of a full node is reported, and not taken for the reply to `codes`."""
    with pytest.raises(NoLeader, match=FULL.removeprefix("Sorry, ")):
        get(start(answered, f"s2@{FULL}\n").at, 0.5)


async def test_refusal_of_a_full_node_answers_the_first_request() -> None:
    """The refusal and the end may both arrive before the connecting task continues."""
    link = Link(Address("h", 1), "me")
    link.connection_made(asyncio.Transport())
    with contextlib.suppress(NotImplementedError):  # of a bare transport, at the end
        link.data_received(f"s2@{FULL}\n".encode())
    assert (await link.send(b"me#7@set a 1")).text == FULL
    used = Link(Address("h", 1), "me")
    asked = used.send(b"me@get a")
    used.data_received(b"s2@GET response: 5\ns2@I stop.\n")
    assert (await asked).text == "GET response: 5"
    with pytest.raises(ConnectionEnded):
        await used.send(b"me@get a")


def test_a_person_sees_no_codes(start: Callable[..., RawNode]) -> None:
    refusal = "s1@Sorry [bad-request] that is no key\n"
    node = start(lambda line: answered(line) if "@codes" in line else refusal)
    for form in ([], ["-q"], ["--json"], ["--screen"]):
        done = run_main(program.main, "client.py", node.port, *form, "get a", typed=b"get a\n")
        shown = done.stdout + done.stderr
        assert "that is no key" in shown
        assert "[bad-request]" not in shown
