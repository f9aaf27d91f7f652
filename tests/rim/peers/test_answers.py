"""Answers to a peer never wait for another task of its connection."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any

from raftline.net.connections.connection import Connection
from raftline.raft.messages import RequestVoteReply
from raftline_testing.doubles.fake_host import FakeHost


def connection_of(near: socket.socket) -> Connection:
    host: Any = FakeHost()
    return Connection(host, near, for_peers_only=False)


def test_answer_waits_for_no_unread_reply() -> None:
    """A peer's answer does not wait for replies that a client does not read."""
    near, far = socket.socketpair()
    with near, far:
        connection = connection_of(near)

        def reply() -> None:
            with contextlib.suppress(BrokenPipeError):
                connection.outgoing.send_bytes(b"x" * (16 << 20) + b"\n")

        sender = threading.Thread(target=reply)
        sender.start()
        assert far.recv(1) == b"x"  # and no more: the rest fills the buffers, and waits
        far.settimeout(60)
        connection.answer([RequestVoteReply("s1", "s2", 1, True)])
        while data := far.recv(1 << 20):  # what had left before; then it is cut off, to ask again
            assert b"Count on me" not in data
        sender.join(60)
        assert not sender.is_alive()


def test_an_answer_goes_out_at_once() -> None:
    near, far = socket.socketpair()
    with near, far:
        connection_of(near).answer(
            [RequestVoteReply("s1", "s2", 1, True), RequestVoteReply("s1", "s2", 2, True)]
        )
        far.settimeout(60)
        assert far.recv(100) == b"s1@Count on me term 1\ns1@Count on me term 2\n"
