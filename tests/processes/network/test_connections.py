"""Connections that behave badly: too many, too slow, too much, too early gone, another protocol."""

from __future__ import annotations

import contextlib
import json
import resource
import select
import socket
import struct
from collections.abc import Iterator

import pytest

from raftline.net.line_connection import LineConnection as Conversation
from raftline_testing.nodes.at_work import of_process
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import DEADLINE_S, eventually

TRY = "Try: get KEY, set KEY VALUE, delete KEY, show, help"


def test_a_thousand_lines_at_once_are_answered_in_order(shared: Cluster) -> None:
    node = shared.leader()
    with node.connect() as client:
        lines = []
        for number in range(333):
            lines += [f"c#{number}@set n {number}", "c@get n", f"c@sing {number}"]
        client.send(*lines)
        for number in range(333):
            assert client.read_lines(3) == [
                f"{node.name}#{number}@SET response: n set to {number}",
                f"{node.name}@GET response: {number}",
                f"{node.name}@Sorry, I don't understand: sing {number}. {TRY}",
            ]


def test_a_client_that_leaves_before_its_reply_disturbs_no_other(shared: Cluster) -> None:
    node = shared.leader()
    for number in range(20):
        with node.connect() as client:
            client.send(f"client4@set left {number}")
            if number % 2:  # a reset instead of an orderly end
                linger = struct.pack("ii", 1, 0)
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    assert eventually(lambda: shared.ask("client4@get left").startswith("GET response: "))
    assert shared.leader() is node


def test_show_of_many_keys_comes_in_pages_that_miss_nothing(shared: Cluster) -> None:
    node = shared.leader()
    with node.connect() as client:
        client.send(*[f"c@set page{number:05} {number}" for number in range(2500)])
        client.read_lines(2500)
        pairs: dict[str, str] = {}
        request, pages = "show page", 0
        while request:
            text = client.ask(f"c@{request}").removeprefix(f"{node.name}@SHOW response: ")
            page, end = json.JSONDecoder().raw_decode(text)
            pairs |= page
            pages += 1
            request = text[end:].removeprefix(" more: ")
    assert pages == 3
    assert pairs == {f"page{number:05}": str(number) for number in range(2500)}


@contextlib.contextmanager
def resident_kib_grows_less_than(cluster: Cluster, limit: int) -> Iterator[None]:
    node = cluster.leader()
    before = of_process(node.pid, "VmRSS")
    yield
    assert of_process(node.pid, "VmRSS") - before < limit


def test_endless_line_is_cut_off_with_one_reply(shared: Cluster) -> None:
    """A line without an end gets one reply, takes little memory, and its connection is closed."""
    node = shared.leader()
    with resident_kib_grows_less_than(shared, 20_000), node.connect() as client:
        sent = send_until_answered(client, b"x" * 1_000_000)
        assert client.read_line() == _too_long(node.name)
        with contextlib.suppress(OSError):  # what comes after its answer is not heard for long
            for _ in range(sent, 50):
                client.socket.sendall(b"x" * 1_000_000)
        assert client.is_closed()
    with node.connect() as client:  # just beyond the limit, so that the reply arrives
        client.socket.sendall(b"set a " + b"v" * 4_198_650 + b"xx")
        assert client.read_line() == _too_long(node.name)
        assert client.is_closed()
    assert shared.ask("client4@set b 5") == "SET response: b set to 5"


def send_until_answered(client: Conversation, piece: bytes) -> int:
    """Send pieces, up to a hundred, until there is something to read; return how many."""
    for sent in range(100):
        if select.select([client.socket], [], [], 0)[0]:
            return sent
        with contextlib.suppress(OSError):  # the answer came meanwhile, and the end after it
            client.socket.sendall(piece)
    return 100


def _too_long(name: str) -> str:
    return (
        f"{name}@Sorry, this line is longer than 4198656 bytes; nothing of it was done. "
        "A key has at most 1024 bytes, a value 1048576."
    )


def test_a_line_without_end_in_a_peer_s_name_is_cut_off_as_well(shared: Cluster) -> None:
    leader = shared.leader()
    name = shared.followers()[0].name
    with leader.connect() as client:
        client.socket.sendall(f"{name}@AppendEntries 1-0-0-[".encode())
        send_until_answered(client, b" " * 1_000_000)
        assert client.read_line().startswith(f"{leader.name}@Sorry, this line is longer than ")
    assert shared.ask("client4@set b 5") == "SET response: b set to 5"
    assert shared.leader() is leader


@pytest.mark.parametrize("raw", [
    b"get telnet\r\n", b"\xff\xfb\x1f\xff\xfd\x03get telnet\r\n", b"\xff\xf1get telnet\r\n",
])  # fmt: skip
def test_telnet_s_bytes_are_not_part_of_a_line(shared: Cluster, raw: bytes) -> None:
    shared.ask("client4@set telnet yes")
    node = shared.leader()
    with node.connect() as client:
        client.socket.sendall(raw)
        assert client.read_line() == f"{node.name}@GET response: yes"


def test_telnet_interrupt_discards_the_line_and_is_marked(shared: Cluster) -> None:
    """An interrupt of telnet discards the line and is answered with a timing mark."""
    shared.ask("client4@set telnet yes")
    node = shared.leader()
    with node.connect() as client:
        client.socket.sendall(b"delete telnet\xff\xf4\xff\xfd\x06get telnet\r\n")
        mark = b"\xff\xfc\x06"  # without it, telnet goes on throwing away what it is sent
        assert client.socket.recv(3, socket.MSG_WAITALL) == mark
        assert client.read_line() == f"{node.name}@GET response: yes"


@pytest.mark.parametrize(("first", "protocol"), [
    (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP"),
    (b"POST /set HTTP/1.0\r\n\r\n", "HTTP"),
    (b"SSH-2.0-OpenSSH_9.6\r\n", "SSH"),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", "TLS"),
])  # fmt: skip
def test_foreign_first_line_gets_one_reply_and_a_disconnect(
    shared: Cluster, first: bytes, protocol: str
) -> None:
    """If the first line is of another protocol, it gets one reply, and the connection is closed."""
    node = shared.leader()
    with node.connect() as client:
        client.socket.sendall(first)
        assert client.read_line() == (
            f"{node.name}@Sorry, this port speaks lines of text, not {protocol}. "
            "Try: nc HOST PORT, then get KEY"
        )
        assert client.is_closed()
    assert shared.ask("client4@set b 5") == "SET response: b set to 5"


def test_a_client_that_never_reads_delays_no_other(shared: Cluster) -> None:
    node = shared.leader()
    shared.ask("client4@set big " + "v" * 100_000)
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            deaf = stack.enter_context(node.connect())
            deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.send(*["client4@get big"] * 80)  # more than both ends buffer
        with node.connect() as client:
            for number in range(50):
                assert client.ask(f"client5@set n {number}").endswith(f"n set to {number}")
    assert shared.leader() is node


def test_thousand_idle_connections_leave_others_served(shared: Cluster) -> None:
    """A thousand idle or slow connections do not keep others from being served."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    node = shared.leader()
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(Conversation(node.port)) for _ in range(1000)]
        for conversation in idle[::2]:
            conversation.socket.sendall(b"set half")  # and never the rest
        with node.connect() as client:
            for number in range(50):
                assert client.ask(f"client5@set n {number}").endswith(f"n set to {number}")
        assert idle[1].ask("get n") == f"{node.name}@GET response: 49"
    assert shared.leader() is node
    assert shared.ask("client4@get half").endswith("no such key: half")


def test_pipeline_is_answered_in_order_and_reads_its_writes(shared: Cluster) -> None:
    """The requests of a pipeline are answered in order and see its own writes."""
    lines, expected = [], []
    for number in range(300):
        lines += [f"set k {number}", "get k", "append pipe x", "get pipe"]
        expected += [
            f"SET response: k set to {number}",
            f"GET response: {number}",
            f"APPEND response: pipe has {number + 1} bytes",
            f"GET response: {'x' * (number + 1)}",
        ]
    node = shared.leader()
    with socket.create_connection(("localhost", node.port), timeout=DEADLINE_S) as client:
        client.sendall("".join(f"{line}\n" for line in lines).encode())
        client.shutdown(socket.SHUT_WR)  # all that was asked is answered, all the same
        with client.makefile() as replies:
            said = [line.rstrip("\n").partition("@")[2] for line in replies]
    assert said == expected


def test_a_stopped_reader_of_large_values_delays_no_other(shared: Cluster) -> None:
    node, value = shared.leader(), "v" * 1_000_000
    assert shared.ask(f"set large {value}").startswith("SET response: large set to ")
    with socket.create_connection(("localhost", node.port), timeout=DEADLINE_S) as client:
        client.sendall(b"get large\n" * 60)  # 60 MB: more than the buffers hold
        for number in range(50):
            assert shared.ask(f"set b {number}") == f"SET response: b set to {number}"
        with client.makefile() as replies:
            said = {next(replies) for _ in range(60)}
    assert said == {f"{node.name}@GET response: {value}\n"}
