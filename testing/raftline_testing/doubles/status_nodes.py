"""Nodes that answer `status` with a line of a test."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from raftline.common import config

LEADER = {
    "name": "s1",
    "role": "leader",
    "term": 3,
    "leader": "s1",
    "last_index": 12,
    "commit_index": 10,
    "last_applied": 10,
    "recovering": False,
    "snapshot_index": 8,
    "log_bytes": 20_480,
}
FOLLOWER = {**LEADER, "name": "s2", "role": "follower", "commit_index": 9, "last_applied": 7}
del FOLLOWER["log_bytes"]  # of a version that doesn't say
FOLLOWER["snapshot_index"] = 0


def line_of(answer: dict[str, object]) -> bytes:
    return f"{answer['name']}@STATUS response: {json.dumps(answer)}\n".encode()


@contextlib.contextmanager
def scripted_node(reply: bytes | None) -> Iterator[int]:
    """Yield the port of a node that answers each line with `reply`; with None it says nothing."""
    listening = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()
    asked: list[bytes] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with connection:
                    asked.append(connection.makefile("rb").readline())
                    if reply is None:
                        over.wait(60)
                    else:
                        connection.sendall(reply)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        over.set()
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        thread.join()
        listening.close()
    assert set(asked) <= {b"status\n"}  # by nobody who stood still until the time was over


@contextlib.contextmanager
def free_port() -> Iterator[int]:
    """Yield a port that nobody listens on, and nobody else gets meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@contextlib.contextmanager
def cluster_of(folder: Path, *replies: bytes | None) -> Iterator[list[str]]:
    """Yield the command for a cluster whose last node, after the scripted ones, is dead."""
    with contextlib.ExitStack() as stack:
        ports = [stack.enter_context(scripted_node(reply)) for reply in replies]
        ports.append(stack.enter_context(free_port()))
        lines = [f"s{n} 127.0.0.1 {port}\n" for n, port in enumerate(ports, start=1)]
        (folder / config.FILE_NAME).write_text("".join(lines))
        yield ["status", "--dir", str(folder), "--timeout", "10"]
