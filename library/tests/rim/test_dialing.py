"""Names of nodes: looked up for each connection, and no address that hangs holds up another."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import raftline
import raftline.aio
from raftline.clients.asyncio import asker
from raftline.clients.asyncio.line_protocol import reach
from raftline.clients.asyncio.line_stream import LineStream
from raftline.clients.connections import node_connection as connection
from raftline.clients.connections.client_access import OPEN_ACCESS
from raftline.clients.requests.conversation import Client
from raftline.common.address import Address
from raftline.net import dialing
from raftline.net.line_connection import ConnectionEnded

DEADLINE_S = 60.0
NAME = "cluster.example"
HANGS, REFUSES, SERVES = "127.0.0.3", "127.0.0.4", "127.0.0.5"
NO_WAY, NO_FAMILY = "255.255.255.255", "no such family"  # fail at once
Lookup = Callable[..., None]


@pytest.fixture
def port() -> int:
    with socket.create_server((SERVES, 0)) as server:
        number: int = server.getsockname()[1]
        return number


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Lookup:
    """Return a function that lets the name have these addresses from now on."""
    hosts: list[str] = []
    look_up = socket.getaddrinfo

    def looked_up(host: Any, port: Any, *more: Any, **options: Any) -> Any:
        if host != NAME:
            return look_up(host, port, *more, **options)
        return [(family_of(one), socket.SOCK_STREAM, 6, "", (one, port)) for one in hosts]

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)

    def name(*addresses: str) -> None:
        hosts[:] = addresses

    return name


def family_of(host: str) -> int:
    return socket.AF_UNSPEC if host == NO_FAMILY else socket.AF_INET


@contextlib.contextmanager
def node(host: str, port: int, value: str) -> Iterator[None]:
    """Serve that value at an address, until the end; then break all connections."""
    server = socket.create_server((host, port))
    served: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection.makefile("rb") as lines:
            for line in lines:
                before, _, command = line.decode().strip().partition("@")
                number = before.partition("#")[1:]
                text = f"GET response: {value}" if command == "get a" else "Sorry, what?"
                connection.sendall(f"s1{''.join(number)}@{text}\n".encode())

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                served.append(server.accept()[0])
                threading.Thread(target=serve, args=served[-1:], daemon=True).start()

    taker = threading.Thread(target=accept, daemon=True)
    taker.start()
    try:
        yield
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        taker.join(DEADLINE_S)
        for each in served:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@contextlib.contextmanager
def hanging(port: int) -> Iterator[None]:
    """Make connections to an address hang: its queue is full, and nobody takes from it."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((HANGS, port))
        server.listen(0)
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((HANGS, port))
        yield


def by_thread(at: str) -> list[str | None]:
    with raftline.connect(at, timeout=DEADLINE_S) as kv:
        return [kv["a"]]


def by_task(at: str) -> list[str | None]:
    async def get() -> list[str | None]:
        async with raftline.aio.connect(at, timeout=DEADLINE_S) as kv:
            return [await kv.get("a")]

    return asyncio.run(get())


@pytest.mark.parametrize("ask", [by_thread, by_task])
def test_slow_name_lookup_delays_no_other_address(
    ask: Callable[[str], list[str | None]], port: int, names: Lookup
) -> None:
    """If the lookup of one name hangs or fails, other addresses are still dialed."""
    names(HANGS, REFUSES, SERVES)
    with hanging(port), node(SERVES, port, "5"):
        assert ask(f"{NAME}:{port}") == ["5"]


@pytest.mark.parametrize("ask", [by_thread, by_task])
def test_an_address_that_fails_at_once_is_passed_over(
    ask: Callable[[str], list[str | None]], port: int, names: Lookup
) -> None:
    names(NO_WAY, NO_FAMILY, SERVES)
    with node(SERVES, port, "5"):
        assert ask(f"{NAME}:{port}") == ["5"]


@pytest.mark.parametrize("addresses", [[NO_WAY], [NO_WAY, REFUSES], [NO_FAMILY, REFUSES]])
def test_an_address_that_fails_at_once_is_an_error(
    addresses: list[str], port: int, names: Lookup
) -> None:
    names(*addresses)
    with pytest.raises(OSError, match="Errno") as caught:
        dialing.dial(Address(NAME, port), DEADLINE_S)
    assert not isinstance(caught.value, ConnectionRefusedError | TimeoutError)


def test_the_error_of_a_name_is_that_of_its_first_address(port: int, names: Lookup) -> None:
    names(REFUSES, SERVES)
    with pytest.raises(ConnectionRefusedError):
        dialing.dial(Address(NAME, port), DEADLINE_S)
    names(REFUSES, HANGS)
    with hanging(port), pytest.raises(ConnectionRefusedError):
        dialing.dial(Address(NAME, port), 0.3)
    names(HANGS)
    with hanging(port), pytest.raises(TimeoutError):
        dialing.dial(Address(NAME, port), 0.05)


def by_pipeline(at: str) -> list[str | None]:
    with raftline.connect(at, timeout=DEADLINE_S) as kv:
        return list(kv.get_many(["a"]).values())


def by_client(at: str) -> list[str | None]:
    connected: list[Address] = []
    nodes = [Address.parse(each) for each in at.split(",")]
    with Client(*nodes[0], also=nodes[1:], follow=True, on_connect=connected.append) as client:
        client.connect()
        assert connected == [nodes[0], client.address]
        return [client.request("get a").removeprefix("GET response: ")]


@pytest.mark.parametrize("ask", [by_thread, by_task, by_pipeline, by_client])
def test_a_node_that_hangs_holds_up_no_other(
    ask: Callable[[str], list[str | None]], port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (connection, asker):  # alone it would have all the time
        monkeypatch.setattr(module, "CONNECT_TIMEOUT_S", DEADLINE_S)
    with hanging(port), node(SERVES, port, "5"):
        assert ask(f"{HANGS}:{port},{REFUSES}:{port},{SERVES}:{port}") == ["5"]


def test_a_node_that_refuses_is_given_up_at_once(port: int) -> None:
    others = iter([Address(SERVES, port)])
    with node(SERVES, port, "5"), pytest.raises(ConnectionRefusedError):
        dialing.dial(Address(REFUSES, port), DEADLINE_S, others)
    assert list(others) == [Address(SERVES, port)]  # nobody else was tried


def test_nodes_that_all_hang_are_given_up_in_time(port: int) -> None:
    hangs = Address(HANGS, port)
    with hanging(port), pytest.raises(TimeoutError):
        dialing.dial(hangs, 0.3, iter([hangs, Address("no.such.host.invalid", port)]))


def test_task_leaves_no_connection_next_to_the_one_that_it_uses(port: int) -> None:
    async def run() -> None:
        ours: list[LineStream] = []

        def make(address: Address) -> LineStream:
            ours.append(LineStream(address))
            return ours[-1]

        nodes = [Address(host, port) for host in (HANGS, SERVES, SERVES)]
        reached = await reach(nodes[0], make, OPEN_ACCESS, DEADLINE_S, iter(nodes[1:]))
        assert reached.address == nodes[1]
        assert [each for each in ours if each.is_open and each._transport is not None] == [reached]
        reached.close(ConnectionEnded())

    with hanging(port), node(SERVES, port, "5"):
        asyncio.run(run())


def test_a_program_continues_at_what_its_name_leads_to_now(port: int, names: Lookup) -> None:
    with raftline.connect(f"{NAME}:{port}", timeout=DEADLINE_S) as kv:
        names(REFUSES)
        with node(REFUSES, port, "1"):
            assert kv["a"] == "1"
        names(SERVES)
        with node(SERVES, port, "2"):
            assert kv["a"] == "2"


async def test_a_task_continues_at_what_its_name_leads_to_now(port: int, names: Lookup) -> None:
    async with raftline.aio.connect(f"{NAME}:{port}", timeout=DEADLINE_S) as kv:
        names(REFUSES)
        with node(REFUSES, port, "1"):
            assert await kv.get("a") == "1"
        names(SERVES)
        with node(SERVES, port, "2"):
            assert await kv.get("a") == "2"
