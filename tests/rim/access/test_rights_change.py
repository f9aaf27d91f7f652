"""The users change while connections stand: watches end, and logins."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from raftline.access.login import Access
from raftline.clients.calls.value_codec import TEXT
from raftline.clients.requests.node_connection import LoginFailed, NotAllowed
from raftline.clients.watches.watch_events import WatchCursor
from raftline.logmanager import LogManager
from raftline.net.connections.connection import Connection
from raftline.node.watches.watch_registry import WatchRegistry
from raftline.raft.log import Entry
from raftline.wire.commands.rights import UserRole
from raftline_testing.doubles.fake_host import FakeHost
from raftline_testing.files.faulty_folder import MemoryFolder
from raftline_testing.nodes.known_users import table_of
from raftline_testing.nodes.processes import eventually

PASSWORD, OTHER = "correct horse battery", "staple"


class Wired:
    """A connection to a host, which its own thread serves, and the other end of it."""

    def connect(self, host: Any) -> None:
        self.here, self.there = socket.socketpair()
        self.there.settimeout(20.0)
        self.lines = self.there.makefile()
        self.connection = Connection(host, self.here, for_peers_only=False)
        self.thread = threading.Thread(target=self.connection.serve, daemon=True)
        self.thread.start()

    def line(self) -> str:
        return self.lines.readline().removesuffix("\n")

    def close(self) -> None:
        self.lines.close()
        self.there.close()
        self.thread.join(60)


class Scene(Wired):
    """A connection on which bob is logged in, at a node whose watches are real."""

    def __init__(self) -> None:
        self.access = Access(anonymous=UserRole.NONE, failed_s=0.0)
        self._follow(bob=("app/", "web/"))
        self.manager = LogManager("s1", MemoryFolder(), {"s1": "localhost:10000"})
        self.watchers = WatchRegistry(self.manager, lambda: None)
        self.index = 0
        self.apply("cluster 9f86d081884c7d65 level 1")
        facts = {"watchers": self.watchers, "logmanager": self.manager}
        self.host = cast(Any, FakeHost(access=self.access, level=1, **facts))
        self.host.submit = self._confirm_all
        self.connect(self.host)

    def _confirm_all(self, *batches: Any) -> None:
        for batch in batches:
            batch.wake()

    def _follow(self, password: str = PASSWORD, **users: tuple[str, ...]) -> None:
        known = {name: (UserRole.READER, users[name]) for name in users or {"ann": ("",)}}
        self.access.follow(table_of(known, password))

    def change(self, password: str = PASSWORD, **users: tuple[str, ...]) -> None:
        """Put these readers in force, or another one if there are none."""
        self._follow(password, **(users or {"ann": ("",)}))
        self.connection.rights_changed()

    def apply(self, *commands: str) -> None:
        entries = [Entry(self.index + 1 + place, 1, each) for place, each in enumerate(commands)]
        self.index += len(entries)
        self.manager.apply(entries)
        self.watchers.feed.applied(entries)
        self.watchers.hand_out()

    def ask(self, line: str) -> str:
        self.there.sendall(f"{line}\n".encode())
        return self.line()


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    assert scene.ask(f"login bob {PASSWORD}").startswith(
        "s1@LOGIN response: you are bob, who may read"
    )
    yield scene
    scene.close()


def test_a_watch_ends_where_its_user_may_have_it_no_more(scene: Scene) -> None:
    assert scene.ask("c#1@watch app/") == "s1#1@WATCH response: 0 keys as of 1"
    assert scene.ask("c#2@watch web/") == "s1#2@WATCH response: 0 keys as of 1"
    scene.apply("set app/x 1")
    assert scene.line() == "s1#1@EVENT 2 set app/x 1"
    scene.change(bob=("web/",))
    assert scene.line() == (
        "s1#1@Sorry, this watch has ended, since the rights of the user have changed. "
        "Go on with: watch app/ after 2"
    )
    scene.apply("set app/x 2", "set web/x 1")
    assert scene.line() == "s1#2@EVENT 4 set web/x 1"  # and nothing of app/
    assert "bob may not watch app/" in scene.ask("c#3@watch app/ after 2")
    assert scene.watchers.count == 1


@pytest.mark.parametrize(
    ("password", "users"), [(OTHER, {"bob": ("",)}), (PASSWORD, {"ann": ("",)})]
)
def test_a_connection_ends_with_its_login(
    scene: Scene, password: str, users: dict[str, tuple[str, ...]]
) -> None:
    assert "WATCH response" in scene.ask("watch app/")
    scene.change(password, **users)
    assert "the rights of the user have changed" in scene.line()
    assert scene.line() == ""
    eventually(lambda: scene.watchers.count == 0, "no watch")


def test_rights_that_stay_end_nothing(scene: Scene) -> None:
    assert "WATCH response" in scene.ask("watch app/")
    scene.change(bob=("app/",), ann=("",))
    scene.apply("set app/x 1")
    assert scene.line() == "s1@EVENT 2 set app/x 1"


def test_a_watch_does_not_begin_if_the_rights_change_first(scene: Scene) -> None:
    confirm = scene.host.submit

    def submit(*batches: Any) -> None:  # between the look at the rights and the first line
        scene.change(bob=("web/",))
        confirm(*batches)

    scene.host.submit = submit
    assert "bob may not watch app/" in scene.ask("watch app/")
    scene.apply("set app/x 1")
    assert scene.watchers.count == 0


def test_a_client_that_follows_a_watch_hears_that_it_is_not_allowed() -> None:
    cursor = WatchCursor(TEXT, "app/", None)
    cursor.take("WATCH response: 0 keys as of 1")
    with pytest.raises(NotAllowed, match="bob may not watch app/"):
        cursor.refused("Sorry, bob may not watch app/: it takes the right to read there.")


def test_the_errors_say_that_nothing_was_done() -> None:
    assert NotAllowed.outcome is LoginFailed.outcome is NotAllowed("x").outcome
