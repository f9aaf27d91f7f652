"""A peer that takes nothing: its outbox is bounded, and after a while it is dialled again."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from raftline.common.address import Address
from raftline.net.peers import peers
from raftline.net.peers.peers import Peer
from raftline.raft.messages import Message
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


def test_outbox_of_a_slow_peer_is_bounded_by_whole_lines(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the outbox of a slow peer is full, whole lines are dropped."""
    monkeypatch.setattr(peers, "OUTBOX_BYTES", 200_000)
    with dialled(listener) as (peer, connection), connection.makefile("rb") as reader:
        for number in range(LINES):
            peer.send(b"%s%d\n" % (LINE[:-1], number))
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
    lines = [line for line in lines[:-1] if line != HELLO]
    assert {line[: len(LINE) - 1] for line in lines} == {LINE[:-1]}
    numbers = [int(line[len(LINE) - 1 :]) for line in lines]
    assert numbers == sorted(set(numbers))
    assert len(numbers) < LINES


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
        assert peer.bytes_sent < 20_000_000
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
def test_an_answer_is_taken_only_from_the_peer_that_was_asked(
    listener: socket.socket, line: bytes, complaint: str
) -> None:
    said: list[str] = []
    answers: list[Message] = []
    address = Address("127.0.0.1", listener.getsockname()[1])
    peer = Peer("s1", "s2", address, answers.extend, lambda _: None, said.append)
    peer.start()
    connection, _ = listener.accept()
    with connection:
        connection.sendall(line + b"\n" + b"s2@Count on me term 2\n")
        eventually(lambda: any(one.term == 2 for one in answers), "the answer after it")
    peer.stop()
    assert len(answers) == (1 if complaint else 2)
    assert [complaint in text for text in said] == [True] * bool(complaint)


def test_a_peer_that_does_not_read_for_long_is_dialled_again(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "PEER_S", 0.3)
    with dialled(listener) as (peer, first):
        for _ in range(LINES):
            peer.send(LINE)
        second, _ = listener.accept()
        with second:
            assert second.getpeername() != first.getpeername()


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
