"""Users that change while a client logs in."""

from __future__ import annotations

import pytest

from raftline.access.login import Access, Login
from raftline.clients.connections.client_login import Credentials, exchange
from raftline.wire.commands.command_table import read_request
from raftline.wire.commands.identity import EVERYWHERE
from raftline.wire.commands.rights import UserRole
from raftline.wire.operands.operands import Limits
from raftline.wire.refusal import LOGIN_FAILED
from raftline_testing.nodes.known_users import Known, access_with, table_of

OLD, NEW = "correct horse battery", "another password"


def admins(*names: str) -> Known:
    return {name: (UserRole.ADMIN, EVERYWHERE) for name in names}


@pytest.fixture
def access() -> Access:
    return access_with(admins("bob", "s2"), OLD)


def said(login: Login, line: str) -> str:
    return login.take(read_request("c", "", line, Limits()))


@pytest.mark.parametrize(("password", "names"), [(NEW, ("bob",)), (OLD, ("s2",))])
def test_exchange_begun_before_a_change_of_users_gives_no_rights(
    access: Access, password: str, names: tuple[str, ...]
) -> None:
    """The exchange fails if its user is removed or gets another password before it ends."""
    login = Login(access, lambda: True)
    steps = exchange(Credentials("bob", OLD))
    last = steps.send(said(login, next(steps)))
    access.follow(table_of(admins(*names), password))
    assert said(login, last) == LOGIN_FAILED
    assert login.denial_reason("get a", lambda lease: []).startswith(
        "Sorry, a client without a login may not "
    )
    assert login.identity == access.nobody


def test_an_exchange_that_began_before_gives_the_rights_of_now(access: Access) -> None:
    login = Login(access, lambda: True)
    steps = exchange(Credentials("bob", OLD))
    last = steps.send(said(login, next(steps)))
    access.follow(table_of({"bob": (UserRole.READER, EVERYWHERE)}, OLD))
    assert said(login, last) != LOGIN_FAILED
    assert login.denial_reason("get a", lambda lease: []) == ""
    assert "bob may not set a" in login.denial_reason("set a 1", lambda lease: [])
