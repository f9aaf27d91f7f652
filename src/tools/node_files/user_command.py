"""`raftline user`: change and list the nodes' file of users."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ...access.users import Users, make_verifier, new_secret, prefixes_of, read_users, write_users
from ...clients.terminal.options import typed_password
from ...common.arguments import as_number
from ...common.config import ConfigError
from ...state.user_table import ITERATIONS, User
from ...wire.commands.identity import ROLES, identity_of
from ...wire.commands.login_operands import ITERATIONS_LEAST, ITERATIONS_MOST, why_no_password
from ...wire.commands.user_operands import Verifier
from ...wire.protocol import NAME, ProtocolError

if TYPE_CHECKING:
    from ...common.arguments import Commands

FILE_NAME = "raftline-users"
_NO_VERIFIER = Verifier(0, b"", b"", b"")
AGAIN = "The nodes read it again at SIGHUP; each of them needs the same file."


def carry_out(options: argparse.Namespace) -> int:
    """Execute the request on the file of users.

    Raises:
        ConfigError: nothing was changed. The message explains why.
    """
    path = options.users.resolve()
    if options.action == "list":
        for name, user in sorted(read_users(path).by_name.items()):
            print(" ".join([name, str(user.identity.role), *user.identity.reads]).rstrip(" "))
        return 0
    if options.name is None or not NAME.fullmatch(options.name) or options.name == "unknown":
        raise ConfigError(
            f"raftline user {options.action} takes the name of a user: a letter, then letters, "
            "digits, _ . or -, at most 64 in all"
        )
    change = _ACTIONS[options.action]
    change(options, dict(_read(path).by_name), _NO_VERIFIER)  # report mistakes before asking
    verifier = _NO_VERIFIER
    if options.action in ("add", "password"):  # before the lock, since typing takes a while
        verifier = make_verifier(ask_password(options.name), options.iterations)
    try:
        with _locked(path.parent):
            users = _read(path)
            known = dict(users.by_name)
            change(options, known, verifier)
            write_users(path, Users(known, users.secret))
    except OSError as error:
        raise ConfigError(f"{path} can't be written: {error.strerror}") from None
    print(f"[*] {options.name}: done in {path}. {AGAIN}", file=sys.stderr)
    return 0


def _read(path: Path) -> Users:
    return read_users(path) if path.exists() else Users({}, new_secret())


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock out other `raftline user` commands. The file is replaced, so its folder is locked."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _add(options: argparse.Namespace, users: dict[str, User], verifier: Verifier) -> None:
    if options.name in users:
        other = "`raftline user change` and `raftline user password` change it"
        raise ConfigError(f"{options.name} is a user already; {other}")
    if options.role is None:
        raise ConfigError(f"--role is missing; there are {', '.join(ROLES)}")
    identity = identity_of(options.name, ROLES[options.role], _prefixes(options))
    users[options.name] = User(identity, verifier)


def _change(options: argparse.Namespace, users: dict[str, User], verifier: Verifier) -> None:
    user = _known(options.name, users)
    role = user.identity.role if options.role is None else ROLES[options.role]
    users[options.name] = user._replace(
        identity=identity_of(options.name, role, _prefixes(options))
    )


def _password(options: argparse.Namespace, users: dict[str, User], verifier: Verifier) -> None:
    user = _known(options.name, users)
    users[options.name] = user._replace(verifier=verifier)


def _remove(options: argparse.Namespace, users: dict[str, User], verifier: Verifier) -> None:
    _known(options.name, users)
    if len(users) == 1:
        raise ConfigError("the last user can't be removed; delete the file, and leave out --users")
    del users[options.name]


_ACTIONS = {"add": _add, "change": _change, "password": _password, "remove": _remove}


def _known(name: str, users: Mapping[str, User]) -> User:
    if name not in users:
        raise ConfigError(f"{name} is not a user; raftline user list lists all")
    return users[name]


def _prefixes(options: argparse.Namespace) -> tuple[str, ...]:
    try:
        return prefixes_of(options.prefix)
    except ProtocolError as problem:
        raise ConfigError(f"--prefix: {problem}") from None


def ask_password(name: str) -> str:
    """Return a password that is typed twice without being shown, or the first line of a pipe.

    Raises:
        ConfigError: there is no password, or it is not a valid one.
    """
    if sys.stdin is not None and sys.stdin.isatty():
        password = typed_password(f"Password of {name}: ")
        if typed_password("Once more: ") != password:
            raise ConfigError("the two passwords differ; nothing was changed")
    else:
        try:
            line = sys.stdin.readline() if sys.stdin is not None else ""
        except UnicodeDecodeError:
            raise ConfigError("the password is not text; nothing was changed") from None
        password = line.removesuffix("\n").removesuffix("\r")
    if why := why_no_password(password):
        raise ConfigError(f"{why}; nothing was changed")
    return password


def add_commands(commands: Commands) -> None:
    """Add `raftline user` to the command line."""
    user = commands.add_parser(
        "user",
        help="the users of a cluster, in a file for `raftline server --users`",
        description="Add a user to the file that nodes are started with, change its role and "
        "prefixes or its password, remove it, or list all. A password is asked for, or read from "
        "standard input; it is never an argument. Exit code 0: done; 2: not.",
    )
    user.add_argument("action", choices=(*_ACTIONS, "list"), help="what to do")
    user.add_argument("name", metavar="USER", nargs="?", help="its name")
    user.add_argument("--role", choices=ROLES, help="what it may do")
    user.add_argument(
        "--prefix",
        action="append",
        default=[],
        metavar="PREFIX",
        help="of its keys, spelled like a key; may be repeated (all keys)",
    )
    user.add_argument(
        "--users",
        type=Path,
        default=Path(FILE_NAME),
        metavar="FILE",
        help=f"the file ({FILE_NAME} in this folder)",
    )
    user.add_argument(
        "--iterations",
        type=as_number("number of rounds", ITERATIONS_LEAST, ITERATIONS_MOST),
        default=ITERATIONS,
        metavar="N",
        help=f"rounds of PBKDF2 for a new password ({ITERATIONS})",
    )
    user.set_defaults(carry_out=carry_out)
