"""A peer that takes nothing: what waits for it is bounded, and after a while it is dialled anew."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from raftline.common.address import Address
from raftline.net.peers import peers
from raftline.net.peers.peers import Peer
from raftline_testing.nodes.processes import eventually

DEADLINE_S = 30.0
LINE = b"s1@" + b"x" * 9_996 + b"\n"
HELLO, MARK = b"s1@hello\n", b"s1@the end\n"
LINES = 5_000  # 50 MB in all


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(DEADLINE_S)
        yield listening


@contextlib.contextmanager
def dialled(listener: socket.socket) -> Iterator[tuple[Peer, socket.socket]]:
    """Yield a peer and its connection, which nobody reads from, once lines go through it."""
    address = Address("127.0.0.1", listener.getsockname()[1])
    peer = Peer("s1", "s2", address, lambda _: None, lambda _: None, lambda _: None)
    peer.start()
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(0.05)
        for _ in range(600):
            peer.send(HELLO)  # dropped until the peer knows that it is connected
            with contextlib.suppress(TimeoutError):
                assert connection.recv(len(HELLO)) == HELLO  # another may be on its way
                break
        connection.settimeout(DEADLINE_S)
        yield peer, connection
    peer.stop()


def test_the_outbox_of_a_slow_peer_is_bounded_and_sends_whole_lines(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "OUTBOX_BYTES", 200_000)
    with dialled(listener) as (peer, connection), connection.makefile("rb") as reader:
        for _ in range(LINES):
            peer.send(LINE)
        heard = threading.Event()
        lines: list[bytes] = []

        def read() -> None:
            while not heard.is_set():
                lines.append(reader.readline())
                if lines[-1] == MARK:
                    heard.set()

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        for _ in range(600):  # again and again: a mark, too, is dropped while much waits
            peer.send(MARK)
            if heard.wait(0.05):
                break
        thread.join(DEADLINE_S)
    assert lines[-1] == MARK
    assert set(lines[:-1]) - {HELLO} == {LINE}
    assert len(lines) < LINES


def test_bytes_to_a_slow_peer_and_of_its_answers_are_counted(listener: socket.socket) -> None:
    with dialled(listener) as (peer, connection), connection.makefile("rb") as reader:
        peer.send(LINE * 2_000)  # more than the two sockets hold: the rest leaves by the sender
        assert 0 < peer.bytes_sent < 2_000 * len(LINE)
        lines = [reader.readline()]
        while len(lines) - lines.count(HELLO) < 2_000:
            lines.append(reader.readline())
        counted = (len(HELLO) + sum(map(len, lines)), 0)  # `dialled` read the first line
        eventually(lambda: (peer.bytes_sent, peer.bytes_read) == counted, "all bytes are counted")
        connection.sendall(b"s2@Sorry\n")
        eventually(lambda: peer.bytes_read == len(b"s2@Sorry\n"), "its answer is counted")
        connection.close()
        reader.close()
        second, _ = listener.accept()
        with second:
            second.sendall(b"s2@Sorry\n")
            eventually(lambda: peer.bytes_read == 2 * len(b"s2@Sorry\n"), "as is the next one")


def test_a_new_connection_does_not_begin_with_an_unfinished_line(listener: socket.socket) -> None:
    with dialled(listener) as (peer, first):
        peer.send(b"s1@" + b"x" * 20_000_000 + b"\n")  # more than the two sockets hold
        assert peer._outbox_bytes
        peer.send(LINE)  # waits behind it
        first.close()
        second, _ = listener.accept()
        with second, second.makefile("rb") as reader:
            heard: list[bytes] = []
            thread = threading.Thread(target=lambda: heard.append(reader.readline()), daemon=True)
            thread.start()
            for _ in range(600):
                peer.send(HELLO)  # dropped until the peer knows that it is connected
                thread.join(0.05)
                if heard:
                    break
    assert heard == [HELLO]


def test_a_line_that_could_not_be_sent_whole_ends_its_connection() -> None:
    peer = Peer("s1", "s2", Address("s2", 1), lambda _: None, lambda _: None, lambda _: None)
    broken = threading.Event()

    def sendall(data: bytes) -> None:
        assert data == LINE[3:]
        raise BlockingIOError  # after SO_SNDTIMEO, with a part of it gone

    stuck: Any = SimpleNamespace(
        send=lambda data, _: 3, sendall=sendall, shutdown=lambda _: broken.set()
    )
    peer._socket = stuck
    peer.send(LINE)
    sender = threading.Thread(target=peer._send_outbox, daemon=True)
    sender.start()
    assert broken.wait(DEADLINE_S)
    peer.stop()
    sender.join(DEADLINE_S)


def test_messages_wait_for_the_end_of_an_unfinished_line() -> None:
    peer = Peer("s1", "s2", Address("s2", 1), lambda _: None, lambda _: None, lambda _: None)
    at_it, go_on = threading.Event(), threading.Event()
    sent: list[bytes] = []

    def sendall(data: bytes) -> None:
        at_it.set()
        assert go_on.wait(DEADLINE_S)
        sent.append(data)

    def send(data: bytes, _: int) -> int:
        sent.append(data[:3])
        return 3

    slow: Any = SimpleNamespace(send=send, sendall=sendall, shutdown=lambda _: None)
    peer._socket = slow
    peer.send(LINE)
    sender = threading.Thread(target=peer._send_outbox, daemon=True)
    sender.start()
    assert at_it.wait(DEADLINE_S)  # the outbox is empty, and its line is on its way
    peer.send(HELLO)
    go_on.set()
    for _ in range(600):
        if len(sent) == 3:
            break
        threading.Event().wait(0.05)
    peer.stop()
    sender.join(DEADLINE_S)
    assert sent == [LINE[:3], LINE[3:], HELLO]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"s3@Count on me term 1", "it calls itself s3: Count on me term 1"),
        (b"Count on me term 1", "it calls itself nothing"),
        (b"s2@Sorry, no", "Sorry, no"),
        (b"s2@RequestVote 1-0-0", "a question where only answers come"),
        (b"s2@Count on me term \xd9\xa3", "malformed Count"),
        (b"s2@Count on me term 1", ""),
    ],
)
def test_an_answer_is_taken_only_from_the_peer_that_was_asked(line: bytes, complaint: str) -> None:
    said: list[str] = []
    peer = Peer("s1", "s2", Address("s2", 1), lambda _: None, lambda _: None, said.append)
    assert (peer._understand(line) is None) is bool(complaint)
    assert [complaint in text for text in said] == [True] * bool(complaint)


def test_a_peer_that_does_not_read_for_long_is_dialled_anew(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "PEER_S", 0.3)
    with dialled(listener) as (peer, first):
        for _ in range(LINES):
            peer.send(LINE)
        second, _ = listener.accept()
        with second:
            assert second.getpeername() != first.getpeername()


@pytest.mark.pure
def test_a_connection_is_dropped_before_its_descriptor_is_reused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peer = Peer("s1", "s2", Address("s2", 1), lambda _: None, lambda _: None, lambda _: None)
    connection: Any = SimpleNamespace(
        close=lambda: known.append(peer._socket), shutdown=lambda _: None
    )
    known: list[socket.socket | None] = []

    def talk(connection: socket.socket) -> bool:
        peer._socket = connection
        peer._stopping.set()
        return False

    monkeypatch.setattr(peer, "_connect", lambda: connection)
    monkeypatch.setattr(peer, "_talk", talk)
    peer._dial()
    assert known == [None]


def test_a_peer_with_an_unknown_host_is_retried_like_a_dead_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = threading.Semaphore(0)
    connect = socket.create_connection

    def counted(*arguments: object, **options: object) -> socket.socket:
        tried.release()
        return connect(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "create_connection", counted)
    peer = Peer("s1", "s2", Address("a..b", 1), lambda _: None, lambda _: None, lambda _: None)
    peer.start()
    assert all(tried.acquire(timeout=DEADLINE_S) for _ in range(2))
    peer.stop()


def test_what_a_peer_did_not_take_is_no_copy_and_counts_whole() -> None:
    """A line may be long, and each follower that is slow would have one of its own."""
    peer = Peer("s1", "s2", Address("127.0.0.1", 1), lambda _: None, lambda _: None, lambda _: None)
    connection: Any = SimpleNamespace(send=lambda *_: 5)
    peer._socket = connection
    peer.send(LINE)
    assert isinstance(left := peer._outbox[0], memoryview)
    assert left.obj is LINE
    assert left == LINE[5:]
    assert peer._outbox_bytes == len(LINE)
