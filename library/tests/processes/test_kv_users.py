"""The users and roles of a cluster by the typed client."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import raftline
import raftline.aio
from raftline.api import Grant, UserFacts
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import DEADLINE_S
from tests.processes.typed import at

PASSWORD = "correct horse"


def test_an_admin_lists_and_changes_users_and_roles(three: Cluster) -> None:
    with raftline.connect(at(three), timeout=DEADLINE_S) as kv:
        users = kv.users
        with pytest.raises(raftline.Refused, match="the first user needs the role admin") as first:
            users.add("bob", PASSWORD, ["reader"])
        assert first.value.code == "first-user"
        assert users.add_role("app")
        assert not users.add_role("app")
        assert users.grant_role("app", "readwrite", "two words/")
        assert users.grant_role("app", "read")
        assert not users.grant_role("none", "read")
        assert users.list().users == {}
        assert users.list().roles == {"app": [Grant("readwrite", "two words/"), Grant("read", "")]}
        assert users.revoke_role("app")
        assert users.list().roles == {"app": [Grant("readwrite", "two words/")]}
        assert users.remove_role("app")
        assert not users.remove_role("app")


def test_first_admin_closes_an_open_cluster(three: Cluster) -> None:
    """Once there is a first admin, users log in by password."""
    nodes = at(three)
    with raftline.connect(nodes, timeout=DEADLINE_S) as kv:
        assert kv.users.add("root", PASSWORD, ["admin"])
    with raftline.connect(nodes, timeout=DEADLINE_S, user="root", password=PASSWORD) as kv:
        assert kv.users.add("bob", "staple", ["reader"])
        assert not kv.users.add("bob", "another", ["reader"])
        assert kv.users.set_password("bob", "battery")
        assert kv.users.list().users == {
            "bob": UserFacts(["reader"], True),
            "root": UserFacts(["admin"], True),
        }
        with pytest.raises(raftline.Refused, match="root is the last admin"):
            kv.users.remove("root")
    with raftline.connect(nodes, timeout=DEADLINE_S, user="bob", password="battery") as kv:
        assert kv.get("a") is None
        with pytest.raises(raftline.NotAllowed, match="bob may not list the users"):
            kv.users.list()
    with (
        raftline.connect(nodes, timeout=DEADLINE_S) as kv,
        pytest.raises(raftline.Refused, match="without a login"),
    ):
        kv.users.list()


@pytest.mark.parametrize(
    ("call", "error", "why"),
    [
        (lambda users: users.add("4ve", "x"), ValueError, "not the name of a user"),
        (lambda users: users.add("bob", "passwört"), ValueError, "a password has 1 to"),
        (lambda users: users.add("bob", 5), TypeError, "a password is a str"),
        (lambda users: users.add("bob", "x", "admin"), TypeError, "roles is an iterable"),
        (lambda users: users.grant("bob", "a b"), ValueError, "not the name of a role"),
        (lambda users: users.grant_role("app", "sing"), ValueError, "not a right"),
        (lambda users: users.revoke_role("app", b"a"), TypeError, "a prefix is str"),
    ],
)
def test_a_mistake_is_reported_before_anything_is_sent(
    call: Callable[[object], object], error: type[Exception], why: str
) -> None:
    with raftline.connect("localhost:1") as kv, pytest.raises(error, match=why):
        call(kv.users)


async def test_tasks_do_the_same(three: Cluster) -> None:
    async with raftline.aio.connect(at(three), timeout=DEADLINE_S) as kv:
        assert await kv.users.add_role("app")
        assert not await kv.users.grant("bob", "app")
        assert (await kv.users.list()).roles == {"app": []}
