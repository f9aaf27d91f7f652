"""Users for tests: as commands, as a table, and at the door of a node."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path

from raftline.access.login import Access
from raftline.access.users import make_verifier, write_first_admin
from raftline.state.commands.key_commands import execute
from raftline.state.store import Store
from raftline.state.user_table import UserTable
from raftline.wire.commands.identity import EVERYWHERE
from raftline.wire.commands.rights import UserRole
from raftline.wire.operands.login_operands import ITERATIONS_LEAST
from raftline.wire.operands.user_operands import Verifier

ROOT = "root"
Known = Mapping[str, tuple[UserRole, tuple[str, ...]]]  # by name: a role, and its prefixes
ROOT_ALONE: Known = {ROOT: (UserRole.ADMIN, EVERYWHERE)}


@functools.cache
def verifier_of(password: str) -> Verifier:
    """Return the verifier of a password, the same each time."""
    return make_verifier(password, ITERATIONS_LEAST)


def commands_of(users: Known, password: str) -> Iterator[str]:
    """Yield the commands that add users with this password, the admins first. A user of some keys
    gets a role of its own name."""
    for name, (role, prefixes) in sorted(users.items(), key=lambda one: -one[1][0]):
        given = str(role)
        if prefixes != EVERYWHERE:
            given = name
            yield f"role-add {name}"
            right = "read" if role is UserRole.READER else "readwrite"
            for prefix in prefixes:
                yield f"role-grant {name} {right} {prefix}"
        yield f"user-add {name} {verifier_of(password)} {given}"


def table_of(users: Known, password: str) -> UserTable:
    """Return the users of a state, without the admin who added them."""
    store = Store(is_at_floor=False)
    for command in (f"user-add first {verifier_of(password)} admin", *commands_of(users, password)):
        assert " response: " in execute(store, command), command
    return store.users.with_account("first", None)


def access_with(
    users: Known, password: str, anonymous: UserRole = UserRole.NONE, failed_s: float = 0.0
) -> Access:
    """Return the door of a node that knows these users."""
    access = Access(anonymous=anonymous, failed_s=failed_s)
    access.follow(table_of(users, password))
    return access


def first_admin(folder: Path, password: str, admin: str = ROOT) -> list[str]:
    """Return the options of nodes that admit nobody without a login, and have this first admin."""
    file = folder / "first-admin"
    write_first_admin(file, admin, str(verifier_of(password)))
    return ["--first-admin", str(file), "--anonymous", "none"]


def format_old_users(users: Known, password: str) -> str:
    """Return a file of users of an earlier build."""
    lines = [f"unknown {'A' * 43}="]
    for name, (role, prefixes) in users.items():
        lines.append(" ".join([name, str(role), str(verifier_of(password)), *prefixes]).rstrip())
    return "\n".join(lines) + "\n"


def write_old_users(path: Path, users: Known, password: str) -> Path:
    """Write such a file, and return its path."""
    path.write_text(format_old_users(users, password), encoding="utf-8")
    path.chmod(0o600)
    return path
