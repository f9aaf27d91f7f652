"""Rights that an entry takes away while connections log in, ask, and are read by turns.

The user has another password then, or is gone. Later requests are refused, whether the
login was checked before, after or meanwhile.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Sequence
from typing import Any
from unittest import mock

import pytest

from raftline.access import login as logins
from raftline.access.login import Access, Login
from raftline.net.connections import connection as connections
from raftline.net.connections import shared_reader
from raftline.net.connections.connection import Connection
from raftline.net.connections.shared_reader import SharedReader
from raftline.net.protocol import admission, server_protocol, serving
from raftline.net.protocol.host import Batch
from raftline.state.user_table import Account, UserTable
from raftline.wire.commands.rights import UserRole
from raftline.wire.operands.user_operands import Verifier
from raftline_testing.interleave.scenarios import check_interleavings, first_failure, seeds
from raftline_testing.interleave.threads import Thread
from raftline_testing.interleave.wires import Wire, connected
from tests.interleave.connection_scene import PIECES, ROOM, ConnectionScene

LINES = (logins, admission, serving, connections, server_protocol, shared_reader)
CLIENTS = 2
BEFORE = ("get a", "login root old", "set a 1", "get a", "help", "set a 2")
AFTER = ("set b 1", "get b", "help", "login root old", "set b 2")
DERIVED_IN = 20  # steps
AMID_STEPS = 100


def derived(password: str, *_: object) -> Verifier:
    """Return a verifier as a login makes it."""
    for _step in range(DERIVED_IN):
        Thread.schedule.step()
    return Verifier(1, b"salt", password.encode(), b"key")


def users(password: str) -> UserTable:
    """Return the users with this password of root. Without one, there is another admin alone."""
    name = "root" if password else "other"
    return UserTable({name: Account(derived(password), ("admin",))}, secret=bytes(32))


class Scene(ConnectionScene):
    """A node whose users change."""

    def __init__(self, nears: list[Wire]) -> None:
        super().__init__(SharedReader, nears)
        self.host.access = Access(anonymous=UserRole.NONE, failed_s=0.0)
        self.host.access.follow(users("old"))
        self.has_changed = threading.Event()

    def submit(self, *batches: Batch, more_come: bool = False) -> None:
        asked = [command for batch in batches for command in batch.commands]
        done = [command for command in asked if " b" in command]
        assert not done, f"done by rights that are gone: {done}"
        super().submit(*batches, more_come=more_come)


class Noted(Connection):
    was_ended = False

    def break_off(self) -> None:
        self.was_ended = True
        super().break_off()

    def _read_no_more(self) -> None:
        self.was_ended = True
        super()._read_no_more()


class Client:
    """Logs in and asks, and asks again once the users have changed."""

    def __init__(self, scene: Scene, near: Any, far: Wire) -> None:
        reader = scene.reader
        self.connection = Noted(scene.host, near, for_peers_only=False, shared_reader=reader)
        self._scene, self._far, self._received = scene, far, b""
        names = (("serve", self.connection.serve), ("send", self._send), ("read", self._read))
        self.threads = [threading.Thread(target=run, name=name) for name, run in names]

    def _send(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._send_lines(BEFORE, 0)
            self._scene.has_changed.wait()
            self._send_lines(AFTER, len(BEFORE))
            self._far.shutdown(socket.SHUT_WR)

    def _send_lines(self, commands: Sequence[str], first: int) -> None:
        lines = [f"c#{number}@{command}\n" for number, command in enumerate(commands, first)]
        data = "".join(lines).encode()
        while data:
            size = Thread.schedule.random.choice(PIECES)
            self._far.sendall(data[:size])
            data = data[size:]

    def _read(self) -> None:
        while data := self._far.recv(50):
            self._received += data

    def check(self) -> None:
        """Each line was answered once, in order, up to the end of the connection. Failed logins
        take turns, so the time for a login may be over before the last line."""
        *lines, rest = self._received.decode().split("\n")
        asked = BEFORE + AFTER
        is_late = bool(lines) and lines[-1].startswith("s1@Sorry, nobody logged in ")
        del lines[len(lines) - is_late :]
        heads = [line.partition("@")[0] for line in lines]
        assert heads == [f"s1#{number}" for number in range(len(lines))], lines
        was_ended = self.connection.was_ended or is_late
        assert was_ended or (len(lines), rest) == (len(asked), ""), lines
        for line, command in zip(lines, asked, strict=False):
            reply = line.partition("@")[2]
            expected = "" if command == "help" else f"answer to {command}"
            expected = "LOGIN" if command.startswith("login ") else expected
            assert reply.startswith(("Sorry, ", expected)), lines


def users_change() -> None:
    ends = [connected(ROOM) for _ in range(CLIENTS)]
    later = users(Thread.schedule.random.choice(("new", "")))
    with (
        mock.patch.object(logins, "derive", derived),
        mock.patch.object(connections, "asks_only_status", return_value=True),
    ):
        scene = Scene([near for near, _ in ends])
        clients = [Client(scene, near, far) for near, far in ends]

        def change() -> None:
            for _ in range(Thread.schedule.random.randrange(AMID_STEPS)):
                Thread.schedule.step()
            scene.host.access.follow(later)
            for client in clients:
                client.connection.rights_changed()
            scene.has_changed.set()

        threading.Thread(target=scene.answer, name="driver").start()
        threads = [thread for client in clients for thread in client.threads]
        threads.append(threading.Thread(target=change, name="change"))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for client in clients:
            client.check()
    scene.reader.close()


@seeds(30, 10_000)
def test_nothing_is_done_by_rights_that_are_gone(seeds: range) -> None:
    check_interleavings(users_change, seeds, LINES)


class ByTheUsersOfLater(Login):
    """Takes the user as of now, by whichever users the password was checked."""

    def _succeeded(self, users: UserTable, name: str, *, is_certified: bool = False) -> str:
        return super()._succeeded(self._access.users, name, is_certified=is_certified)


@pytest.mark.slow
def test_a_login_by_users_that_are_gone_is_found() -> None:
    with mock.patch.object(admission, "Login", ByTheUsersOfLater):
        failure = first_failure(users_change, range(1000), LINES)
    assert failure is not None
    assert "done by rights that are gone" in str(failure)
