"""Users, and logins on their connections."""

from __future__ import annotations

from raftline.access.login import Access, Login
from raftline.access.throttle import Throttle
from raftline.state.user_table import UserTable
from raftline.wire.commands.command_table import Request, read_request
from raftline.wire.commands.identity import EVERYWHERE
from raftline.wire.commands.rights import UserRole
from raftline.wire.operands.operands import Limits
from raftline_testing.nodes.known_users import table_of

PASSWORD = "correct horse battery"
BOB = ("bob", UserRole.READER, ("app/",))
ROOT = ("root", UserRole.ADMIN, EVERYWHERE)


def users_of(*rows: tuple[str, UserRole, tuple[str, ...]], password: str = PASSWORD) -> UserTable:
    return table_of({name: (role, prefixes) for name, role, prefixes in rows}, password)


def access_of(
    *rows: tuple[str, UserRole, tuple[str, ...]],
    failed_s: float = 0.0,
) -> Access:
    access = Access(anonymous=UserRole.NONE, failed_s=failed_s)
    access.follow(users_of(*rows))
    return access


def asked(line: str) -> Request:
    return read_request("c", "", line, Limits())


def login_to(access: Access, private: bool = True) -> Login:
    return Login(access, lambda: private)


def places_in(turns: Throttle) -> int:
    """Return how many have a turn or wait for one."""
    return len(turns._present)
