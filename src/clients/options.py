"""The options of a command that is a client: where to ask, for how long, its login and its TLS."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..common.address import Address
from ..common.config import ConfigError
from ..common.quiet_exit import EXIT_INTERRUPTED
from ..common.signals import raised
from ..wire.loginoperands import why_no_password
from ..wire.protocol import NAME
from . import login, tls
from .connection import LoginFailed
from .login import NAMED, PASSWORD_FILE, USER, Credentials
from .tls import ClientTls
from .where import addresses_in, named_nodes

if TYPE_CHECKING:
    from ..common.arguments import Parser
    from .pool import Clients


class ClientAccess(NamedTuple):
    """The login and the TLS of a client; None: no login, plain text."""

    credentials: Credentials | None = None
    tls: ClientTls | None = None

    @classmethod
    def of_environment(cls) -> ClientAccess:
        """Return what the environment has. Raises ConfigError: the files of TLS can't be used."""
        return cls(login.of_environment(), tls.of_environment())


WITH_VALUE = ("--user", "--password-file", *tls.OPTIONS)
ASKING_WITH_VALUE = ("--at", "--dir", "--timeout", *WITH_VALUE)


def add_asking_options(parser: Parser, timeout_s: float | None = None) -> None:
    """Add all of them: `--at`, `--dir` and `--timeout`, then those for the login and TLS."""
    parser.add_argument(
        "--at",
        type=_addresses,
        metavar="HOST:PORT[,…]",
        help="nodes to ask ($RAFTLINE); one is enough, as it names the others",
    )
    parser.add_cluster_options(timeout_s)
    add_login_options(parser)


def _addresses(text: str) -> list[Address]:
    try:
        return addresses_in(text)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def add_login_options(parser: argparse.ArgumentParser) -> None:
    """Add `--user`, `--password-file`, and the options for TLS."""
    group = parser.add_argument_group("login and TLS")
    add = group.add_argument
    add(
        "--user",
        type=_user,
        metavar="USER",
        help=f"log in as USER (${USER}); without a file the password is asked for",
    )
    add(
        "--password-file", metavar="FILE", help=f"its first line is the password (${PASSWORD_FILE})"
    )
    add(
        "--tls-ca",
        type=Path,
        metavar="FILE",
        help="speak TLS; the CA of the nodes' certificates ($RAFTLINE_TLS_CA)",
    )
    add(
        "--tls-cert",
        type=Path,
        metavar="FILE",
        help="a certificate of one's own ($RAFTLINE_TLS_CERT)",
    )
    add("--tls-key", type=Path, metavar="FILE", help="its key ($RAFTLINE_TLS_KEY)")
    add(
        "--tls-server-name",
        metavar="HOST",
        help="that the node's certificate is for, if not its host ($RAFTLINE_TLS_SERVER_NAME)",
    )


def word_first(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of a command that is a client, with the options before the first word
    put after it: that word is the command, or its action. Without a word they stay as they are."""
    position = 0
    while position < len(arguments) and arguments[position].startswith("-"):
        position += 2 if arguments[position] in ASKING_WITH_VALUE else 1
    before, rest = arguments[:position], arguments[position:]
    return [*rest[:1], *before, *rest[1:]]


def access_of(options: argparse.Namespace) -> ClientAccess:
    """Return the access that the options name, else that of the environment. If no file is
    named, the password is asked for on the terminal.

    Raises:
        ConfigError: the files of TLS or that of the password can't be used, or no password was
            typed.
    """
    files = (options.tls_cert, options.tls_key, options.tls_ca, options.tls_server_name)
    has_tls = files != (None, None, None, None)
    made = tls.of_files(*files, tls.OPTIONS) if has_tls else tls.of_environment()
    return ClientAccess(_user_of(options), made)


def clients_of(options: argparse.Namespace) -> Clients:
    """Return the client that the options of a command name. Raises ConfigError: see `access_of`, or
    no node is named anywhere."""
    from .pool import Clients  # most commands need none

    access = access_of(options)
    return Clients(
        *map(str, named_nodes(options.at, options.dir).values()),
        name="raftline",
        timeout=options.timeout,
        credentials=access.credentials,
        tls=access.tls,
    )


def _user_of(options: argparse.Namespace) -> Credentials | None:
    file = options.password_file or os.environ.get(PASSWORD_FILE, "")
    user = options.user or os.environ.get(USER, "")
    if not user:
        return None
    if file or sys.stdin is None or not sys.stdin.isatty():
        return _of_file(Credentials(user, file=file))
    password = typed_password(f"Password of {user}: ")
    if why := why_no_password(password):
        raise ConfigError(f"{user} can't log in: {why}")
    return Credentials(user, password)


def _of_file(credentials: Credentials) -> Credentials:
    """Return them. Raises ConfigError: the file can't be used. A pipe is read at the login alone,
    as that can be done once."""
    file = credentials.file
    if file and (os.path.isfile(file) or not os.path.exists(file)):
        try:
            credentials.secret  # noqa: B018 - it is read to know whether it can be
        except LoginFailed as failure:
            raise ConfigError(str(failure)) from None
    return credentials


def typed_password(prompt: str) -> str:
    """Return what is typed at a prompt on the terminal, without being shown.

    Raises:
        ConfigError: there was no line (Ctrl-D), or it is no text.
        SystemExit: Ctrl-C.
    """
    from getpass import getpass  # only who types it needs it

    try:
        with raised():  # else Ctrl-C would leave the terminal without its echo
            return getpass(prompt)
    except (EOFError, UnicodeDecodeError, KeyboardInterrupt) as error:
        if sys.stderr is not None and sys.stderr.isatty():
            print(file=sys.stderr)  # the prompt's line has not ended
        if isinstance(error, KeyboardInterrupt):
            raise SystemExit(EXIT_INTERRUPTED) from None
        why = "is no text" if isinstance(error, UnicodeDecodeError) else "is missing"
        raise ConfigError(f"the password {why}; type it, and then Enter") from None


def _user(text: str) -> str:
    if not NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a user; {NAMED}")
    return text
