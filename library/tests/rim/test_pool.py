"""The connections of one program: a bounded number of them, and so of sessions, for all threads."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import warnings
from collections.abc import Iterator

import pytest

import raftline
import raftline.aio
from raftline.clients.requests import pool
from raftline.clients.requests.conversation import Client
from raftline.clients.requests.pool import CONNECTIONS_MAX, Clients
from raftline_testing.doubles.scripted_node import ScriptedNode
from raftline_testing.nodes.processes import eventually

DEADLINE_S = 30.0


class Node(ScriptedNode):
    """A node that keeps each write until it may answer."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.sessions = 0
        super().__init__(self.answer)

    def answer(self, command: str) -> str:
        if command == "session":
            self.sessions += 1
            return f"SESSION response: program-{self.sessions}"
        if command.startswith("set "):
            self.may_answer.wait(DEADLINE_S)
            return "SET response: done"
        return "RENEW response: lease-5 for 10 s"

    @property
    def kept(self) -> int:
        """How many writes came; a program that waits for long sends one again."""
        return len({line for line in self.received if "@set " in line})


@pytest.fixture
def node() -> Iterator[Node]:
    node = Node()
    yield node
    node.may_answer.set()
    node.close()


def test_more_threads_than_connections_begin_no_more_sessions(node: Node) -> None:
    count = CONNECTIONS_MAX + 16
    with Clients(f"localhost:{node.port}", timeout=DEADLINE_S) as clients:

        def write() -> None:
            for number in range(3):
                clients.request(f"set a {number}")

        threads = [threading.Thread(target=write) for _ in range(count)]
        for thread in threads:
            thread.start()
        eventually(lambda: node.kept == CONNECTIONS_MAX, "all connections are in use")
        node.may_answer.set()
        for thread in threads:
            thread.join()
    assert node.kept == 3 * count
    assert node.sessions <= CONNECTIONS_MAX
    assert len(node.connections) <= CONNECTIONS_MAX


def test_forked_child_closes_its_copies_of_connections(node: Node) -> None:
    """A forked child closes its copies of its parent's connections."""
    with Clients(f"localhost:{node.port}", timeout=DEADLINE_S) as clients:
        clients.request("renew lease-5")
        gc.collect()
        child = os.fork()
        if child == 0:
            failed = 1
            try:
                with warnings.catch_warnings(record=True) as seen:
                    warnings.simplefilter("always")
                    clients.request("renew lease-5")
                    gc.collect()
                failed = 2 * any(each.category is ResourceWarning for each in seen)
            finally:
                os._exit(failed)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        clients.request("renew lease-5")
    assert len(node.connections) == 2


def test_forked_child_has_its_own_connection_and_session(node: Node) -> None:
    """A forked child has a connection and a session of its own."""
    node.may_answer.set()
    with Client(port=node.port, timeout_s=DEADLINE_S, follow=True) as client:
        client.request("set a 1")
        child = os.fork()
        if child == 0:
            failed = 1
            try:
                client.request("set a 2")
                client.forget_sessions()
                failed = 0
            finally:
                os._exit(failed)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        client.request("set a 3")
    writes = [line for line in node.received if " a " in line]
    assert writes == [
        "program-1#1@set a 1", "program-2#1@set a 2", "program-1#2@set a 3",
    ]  # fmt: skip
    assert len(node.connections) == 2


@pytest.fixture
def busy(node: Node, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clients]:
    """A client of one connection, which a write has taken."""
    monkeypatch.setattr(pool, "CONNECTIONS_MAX", 1)
    clients = Clients(f"localhost:{node.port}", timeout=DEADLINE_S)
    thread = threading.Thread(target=clients.request, args=("set a 1",))
    thread.start()
    eventually(lambda: node.kept == 1, "the write is under way")
    yield clients
    node.may_answer.set()
    thread.join()
    clients.close()


def test_thread_without_a_connection_in_time_has_sent_nothing(busy: Clients, node: Node) -> None:
    """A thread that gets no connection within its time limit has sent nothing."""
    with pytest.raises(raftline.errors.TimedOut, match="so nothing was sent"):
        busy.request("set a 2", timeout=0.01)
    assert node.kept == 1


@pytest.mark.parametrize("command", ["watch a", " watch", "observe", "login ann secret", "auth x"])
def test_connection_commands_are_refused_on_shared_ones(command: str, node: Node) -> None:
    """Otherwise, the next `get` would take an event for its reply, and return the value of another
    key."""
    with raftline.connect(f"127.0.0.1:{node.port}") as kv:
        for ask in (kv.request, lambda each: kv._shared.clients.request_together([each], 1.0)):
            with pytest.raises(raftline.Refused, match="concerns one connection"):
                ask(command)

    async def by_a_task() -> None:
        async with raftline.aio.connect(f"127.0.0.1:{node.port}") as kv:
            with pytest.raises(raftline.Refused, match="concerns one connection"):
                await kv.request(command)

    asyncio.run(by_a_task())
    assert node.received == []


def test_a_lease_is_renewed_while_all_connections_are_in_use(busy: Clients, node: Node) -> None:
    text = busy.request("renew lease-5", timeout=DEADLINE_S / 3)
    assert text == "RENEW response: lease-5 for 10 s"
    assert not node.may_answer.is_set()
    assert node.sessions == 1


def test_waiting_thread_gets_the_next_free_connection(busy: Clients, node: Node) -> None:
    """A thread that waits for a connection gets the next one that is returned."""
    thread = threading.Thread(target=busy.request, args=("set a 2",))
    thread.start()
    eventually(lambda: bool(busy._has_room._waiters), "it waits")  # type: ignore[attr-defined]
    node.may_answer.set()
    thread.join(DEADLINE_S / 3)
    assert not thread.is_alive()
    assert node.kept == 2


def test_threads_waiting_for_a_connection_end_at_close(busy: Clients, node: Node) -> None:
    """When the client is closed, threads that wait for a connection get an error."""
    errors: list[Exception] = []

    def write() -> None:
        try:
            busy.request("set a 2")
        except raftline.Unreachable as error:
            errors.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    busy.close()
    thread.join(DEADLINE_S)
    assert len(errors) == 1
    assert "closed" in str(errors[0])


def forgotten(node: Node) -> list[str]:
    return sorted(line for line in node.received if line.endswith("@forget"))


def test_ending_program_returns_the_sessions_of_all_connections(node: Node) -> None:
    """A client that is closed returns the sessions of all its connections."""
    with raftline.connect(f"localhost:{node.port}", timeout=DEADLINE_S) as kv:
        threads = [threading.Thread(target=kv.set, args=("a", "1")) for _ in range(2)]
        for thread in threads:
            thread.start()
        eventually(lambda: node.kept == 2, "two connections are in use")
        node.may_answer.set()
        for thread in threads:
            thread.join()
        with kv.within(1) as view:  # its end is not that of the client
            view.get("a")
        assert not forgotten(node)
    eventually(
        lambda: forgotten(node) == ["program-1@forget", "program-2@forget"], "they come back"
    )


def test_session_in_use_at_close_is_returned_after_its_request(busy: Clients, node: Node) -> None:
    """A session in use when the client is closed is returned after its request."""
    busy.close()
    assert not forgotten(node)
    node.may_answer.set()
    eventually(lambda: forgotten(node) == ["program-1@forget"], "it comes back")


def test_a_program_that_only_reads_has_no_session_to_give_back(node: Node) -> None:
    with Clients(f"localhost:{node.port}", timeout=DEADLINE_S) as clients:
        clients.request("get a")
    eventually(lambda: not any(each.fileno() >= 0 for each in node.connections), "it has left")
    assert "program@get a" in node.received
    assert not any(line.endswith(("@session", "@forget")) for line in node.received)


def test_an_exception_as_a_request_ends_costs_no_place(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal handler that limits a program's time may raise one."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with Clients(f"localhost:{node.port}", timeout=DEADLINE_S) as clients:
        with monkeypatch.context() as patched:
            patched.setattr(Clients, "_give_back", interrupted)
            for _ in range(CONNECTIONS_MAX):
                with pytest.raises(KeyboardInterrupt):
                    clients.request("renew lease-5")
        node.may_answer.set()
        assert clients.request("set a 1", 5.0) == "SET response: done"
