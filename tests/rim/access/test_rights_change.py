"""The users change while connections stand: watches end, and logins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from raftline_testing.doubles.wired_connection import OTHER, PASSWORD, UserConnection
from raftline_testing.nodes.processes import eventually


@pytest.fixture
def scene() -> Iterator[UserConnection]:
    scene = UserConnection()
    assert scene.ask(f"login bob {PASSWORD}").startswith(
        "s1@LOGIN response: you are bob, who may read"
    )
    yield scene
    scene.close()


def test_a_watch_ends_where_its_user_may_have_it_no_more(scene: UserConnection) -> None:
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
    scene: UserConnection, password: str, users: dict[str, tuple[str, ...]]
) -> None:
    assert "WATCH response" in scene.ask("watch app/")
    scene.change(password, **users)
    assert "the rights of the user have changed" in scene.line()
    assert scene.line() == ""
    eventually(lambda: scene.watchers.count == 0, "no watch")


def test_rights_that_stay_end_nothing(scene: UserConnection) -> None:
    assert "WATCH response" in scene.ask("watch app/")
    scene.change(bob=("app/",), ann=("",))
    scene.apply("set app/x 1")
    assert scene.line() == "s1@EVENT 2 set app/x 1"


def test_a_watch_does_not_begin_if_the_rights_change_first(scene: UserConnection) -> None:
    confirm = scene.host.submit

    def submit(*batches: Any) -> None:  # between the look at the rights and the first line
        scene.change(bob=("web/",))
        confirm(*batches)

    scene.host.submit = submit
    assert "bob may not watch app/" in scene.ask("watch app/")
    scene.apply("set app/x 1")
    assert scene.watchers.count == 0
