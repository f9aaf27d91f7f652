"""A user is removed, or gets another password, while its connection has requests in flight: each is
answered before the connection ends."""

from __future__ import annotations

import select
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from raftline.access.login import Access
from raftline.access.users import make_verifier
from raftline.logmanager import LogManager
from raftline.net.protocol.admission import Admission
from raftline.net.protocol.host import Batch
from raftline.node.watches.watch_registry import WatchRegistry
from raftline.raft.log import Entry
from raftline.wire.commands.parsing import ParsedLine
from raftline.wire.operands.login_operands import ITERATIONS_LEAST
from raftline_testing.doubles.fake_host import FakeHost
from raftline_testing.doubles.wired_connection import Wired
from raftline_testing.files.faulty_folder import MemoryFolder

PASSWORD, OTHER = "correct horse battery", "staple"
VERIFIERS = {word: str(make_verifier(word, ITERATIONS_LEAST)) for word in (PASSWORD, OTHER)}


class Scene(Wired):
    """A connection on which bob is logged in, at a leader that applies entries when it is told."""

    def __init__(self) -> None:
        self.access = Access(failed_s=0.0)
        self.manager = LogManager("s1", MemoryFolder(), {"s1": "localhost:10000"})
        self.manager.store.on_users = self.access.follow
        self.watchers = WatchRegistry(self.manager, lambda: None)
        self.index = 0
        self.apply(
            "cluster 9f86d081884c7d65 level 1",
            f"user-add root {VERIFIERS[PASSWORD]} admin",
            "role-add app",
            "role-grant app readwrite app/",
            f"user-add bob {VERIFIERS[PASSWORD]} app",
        )
        facts: dict[str, Any] = {"watchers": self.watchers, "logmanager": self.manager}
        self.observers = SimpleNamespace(open=lambda *_: "", close=lambda _: "")
        facts["observers"] = self.observers
        self.host = cast(Any, FakeHost(access=self.access, is_at_floor=False, **facts))
        self.waiting: list[Batch] = []
        self.arrived = threading.Semaphore(0)
        self.host.submit = self._submit
        self.connect(self.host)

    def _submit(self, *batches: Batch) -> None:
        for batch in batches:
            if batch.commands == ["watch"]:
                batch.wake()
            else:
                self.waiting.append(batch)
                self.arrived.release()

    def apply(self, *commands: str) -> list[str]:
        entries = [Entry(self.index + 1 + place, 1, each) for place, each in enumerate(commands)]
        self.index += len(entries)
        replies = self.manager.apply(entries)
        self.watchers.feed.applied(entries)
        self.watchers.hand_out()
        return replies

    def change_users(self, command: str) -> None:
        assert " response: " in self.apply(command)[0]
        self.connection.rights_changed()

    def answer(self) -> None:
        """Apply the waiting writes, and answer them."""
        batches, self.waiting = self.waiting, []
        for batch in batches:
            batch.replies = self.apply(*batch.commands)
            batch.wake()
        self.host.flush()

    def send(self, *lines: str) -> None:
        self.there.sendall("".join(f"{line}\n" for line in lines).encode())


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    scene.send(f"login bob {PASSWORD}")
    assert scene.line().startswith("s1@LOGIN response: you are bob")
    yield scene
    scene.close()
    assert not scene.thread.is_alive()


def test_a_write_that_is_refused_where_it_is_applied_is_answered(scene: Scene) -> None:
    scene.send("set app/x 1")
    scene.arrived.acquire()
    scene.change_users("user-remove bob")
    scene.answer()
    assert scene.line() == (
        "s1@Sorry, bob may not set app/x: it takes the right to write there. Nothing was done."
    )
    assert scene.line() == ""


def test_a_write_from_before_the_removal_is_answered(scene: Scene) -> None:
    scene.send("set app/x 1")
    scene.arrived.acquire()
    scene.change_users(f"user-password bob {VERIFIERS[OTHER]}")
    scene.answer()
    assert scene.line() == "s1@SET response: app/x set to 1"
    assert scene.line() == ""


def test_a_line_after_the_removal_does_not_keep_the_connection(scene: Scene) -> None:
    scene.apply("user-remove bob")
    scene.send("get app/x")
    assert scene.line().startswith("s1@Sorry, a client without a login may not get app/x")
    scene.connection.rights_changed()
    assert scene.line() == ""


def test_a_connection_without_requests_ends_at_once(scene: Scene) -> None:
    scene.change_users("user-remove bob")
    assert scene.line() == ""


def test_a_watch_is_told_its_end_before_the_connection_ends(scene: Scene) -> None:
    scene.send("c#1@watch app/")
    assert scene.line() == f"s1#1@WATCH response: 0 keys as of {scene.index}"
    scene.apply("set app/x 1")
    assert scene.line() == f"s1#1@EVENT {scene.index} set app/x 1"
    scene.change_users("user-remove bob")
    assert scene.line() == (
        "s1#1@Sorry, this watch has ended, since the rights of the user have changed. "
        f"Go on with: watch app/ after {scene.index}"
    )
    assert scene.line() == ""


def test_an_observer_is_cut_off_at_once(scene: Scene) -> None:
    """A step shows the contents of entries, so nothing more is sent, not even a reply."""
    scene.connection._serving._observing.has_begun = True
    scene.send("set app/x 1")
    scene.arrived.acquire()
    scene.change_users("user-remove bob")
    scene.answer()
    assert scene.line() == ""


@pytest.mark.parametrize("change", ["user-remove bob", f"user-password bob {VERIFIERS[OTHER]}"])
def test_lines_of_one_packet_name_the_user_who_goes_between_them(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """The first line is admitted, but its entry comes after the one that removes the user."""
    admit = Admission.admit

    def admit_and_change(admission: Admission, line: ParsedLine) -> ParsedLine:
        admitted = admit(admission, line)
        if admitted.text == "set app/x 1":
            scene.apply(change)
        return admitted

    monkeypatch.setattr(Admission, "admit", admit_and_change)
    scene.send("set app/x 1", "set app/x 2")
    scene.arrived.acquire()
    assert [batch.commands for batch in scene.waiting] == [["bob@set app/x 1"]]
    scene.answer()
    is_removed = change.startswith("user-remove")
    assert scene.line().startswith("s1@Sorry, bob may not" if is_removed else "s1@SET response: ")
    assert "may not set app/x" in scene.line()


def test_refused_observation_ends_no_connection(scene: Scene) -> None:
    """The node has its most observers already. The admin logs in as another user later on."""
    scene.observers.open = lambda *_: "Sorry, no more observers."
    scene.send(f"login root {PASSWORD}", "observe")
    assert scene.line().startswith("s1@LOGIN response: you are root")
    assert scene.line() == "s1@Sorry, no more observers."
    scene.send(f"login bob {PASSWORD}")
    assert scene.line().startswith("s1@LOGIN response: you are bob")
    scene.send("help")
    assert scene.line().startswith("s1@HELP response: ")


def test_observation_ends_before_a_login_is_answered(scene: Scene) -> None:
    """The steps after a failed login are not for this client, however slowly it reads."""
    sent: list[bool] = []

    def close(_: object) -> str:
        sent.append(bool(select.select([scene.there], [], [], 0)[0]))
        return ""

    scene.observers.close = close
    scene.send(f"login root {PASSWORD}", "observe", "help")
    assert scene.line().startswith("s1@LOGIN response: you are root")
    assert scene.line().startswith("s1@HELP response: ")
    scene.send("login root wrong")
    assert scene.line().startswith("s1@Sorry, the login failed")
    assert scene.line() == ""
    assert sent == [False]
