"""A peer played by the test: it listens at the configured address, and answers on demand."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time

from raftline.common.config import Pace
from raftline.net.line_connection import LineConnection as Conversation

from .cluster import NodeProcess
from .processes import DEADLINE_S


class PlayedPeer:
    """A stand-in for `node`, which isn't started: it receives other nodes' requests and sends
    answers.

    It holds one connection at a time, as from one node that dials it.
    """

    def __init__(self, node: NodeProcess) -> None:
        self.name = node.name
        self._listener = socket.create_server(("127.0.0.1", node.port))
        self._listener.settimeout(DEADLINE_S)
        self._connection: socket.socket | None = None
        self._unread = b""
        self._hush = threading.Event()
        self._following: threading.Thread | None = None

    def __enter__(self) -> PlayedPeer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_following()
        self.hang_up()
        self._listener.close()

    def hang_up(self) -> None:
        """End the connection; the next `hear` takes a new one."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._unread = b""

    @property
    def connection(self) -> socket.socket:
        """The connection on which the node asks; waits until it has dialled."""
        if self._connection is None:
            self._connection, _ = self._listener.accept()
            self._connection.settimeout(DEADLINE_S)
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._connection

    def hear(self, beginning: str = "") -> str:
        """Return the node's next line that has `beginning` after its name; skip the question that
        begins each connection, unless `beginning` asks for it."""
        until_s = time.monotonic() + 2 * DEADLINE_S
        while True:
            assert time.monotonic() < until_s, f"{self.name} hears no {beginning}, but other lines"
            while b"\n" not in self._unread:
                data = self.connection.recv(1 << 16)
                assert data, f"the node hung up on {self.name}"
                self._unread += data
            line, _, self._unread = self._unread.partition(b"\n")
            text = line.decode()
            words = text.partition("@")[2]
            is_question = words.startswith("Level ")
            if words.startswith(beginning) and (beginning or not is_question):
                return text

    def answer(self, text: str) -> None:
        self.connection.sendall(f"{self.name}@{text}\n".encode())

    def let_stand(self) -> str:
        """Grant a node its PreVotes, as often as it asks, until it requests the vote in that term;
        return that request."""
        while not (line := self.hear()).partition("@")[2].startswith("RequestVote "):
            if request := re.match(r"\w+@PreVote (\d+)-", line):
                self.answer(f"Count on me term {request[1]} prevote")
        return line

    def vote(self) -> None:
        """Grant the node's PreVote, and then its vote, so that it becomes the leader."""
        term = self.let_stand().split(" ")[1].split("-")[0]
        self.answer(f"Count on me term {term}")

    def acknowledge(self, line: str) -> None:
        """Answer an AppendEntries as a follower that now holds all of it."""
        match = re.match(r"\w+@AppendEntries (\d+)-(\d+)-\d+-(.*) commit \d+ round (\d+)", line)
        assert match is not None, line
        index = int(match[2]) + match[3].count('"index"')
        self.answer(f"I am up to date term {match[1]} index {index} round {match[4]}")

    def follow(self) -> None:
        """Acknowledge all of the leader's entries from now on, in the background."""
        self._following = threading.Thread(target=self._acknowledge_all, daemon=True)
        self._following.start()

    def stop_following(self) -> None:
        self._hush.set()
        if self._following is not None:
            self._following.join(DEADLINE_S)

    def _acknowledge_all(self) -> None:
        with contextlib.suppress(OSError, AssertionError):
            while not self._hush.is_set():
                self.acknowledge(self.hear("AppendEntries"))


def has_counted_down(
    node: NodeProcess, peer: Conversation, name: str, term: int, pace: Pace
) -> bool:
    """Send heartbeats as the leader of this name and term for longer than any countdown; return
    whether one ran out, which can happen if everything stalls for the shortest countdown."""
    shortest_s = pace.election_timeout_ms / 1000
    longest_s = 1.25 * (shortest_s + pace.election_spread_ms / 1000)
    pause, mark, still_s = threading.Event(), len(node.said), 0.0
    begun_s = asked_s = time.monotonic()
    while asked_s < begun_s + longest_s:
        before_s, asked_s = asked_s, time.monotonic()
        reply = peer.ask(f"{name}@AppendEntries {term}-0-0-[] commit 0 round 1")
        assert reply == f"{node.name}@I am up to date term {term} index 0 round 1", reply
        still_s = max(still_s, time.monotonic() - before_s)
        pause.wait(shortest_s / 5)
    stood = [line for line in node.said[mark:] if "Starting election" in line or "PreVotes" in line]
    still_s = max(still_s, time.monotonic() - asked_s)
    assert not stood or still_s >= shortest_s, stood
    return bool(stood)
