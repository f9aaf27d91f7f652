"""The options of a client command: the nodes to ask, the time limit, the login and TLS."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from raftline.common.config import ConfigError
from raftline.common.process.quiet_exit import EXIT_INTERRUPTED
from raftline.common.process.signals import raised
from raftline.wire.operands.login_operands import why_no_password
from raftline.wire.protocol import NAME

from ..connections import client_tls as tls
from ..connections.address_options import nodes_of_environment
from ..connections.client_access import ClientAccess
from ..connections.client_login import NAMED, PASSWORD_FILE, USER, Credentials
from ..connections.client_tls import ClientTls
from ..connections.connect_url import NamedNodes
from ..connections.node_connection import LoginFailed

WITH_VALUE = ("--user", "--password-file", *tls.OPTIONS)
ASKING_WITH_VALUE = ("--at", "--dir", "--timeout", *WITH_VALUE)


def add_login_options(parser: argparse.ArgumentParser) -> None:
    """Add `--user`, `--password-file`, and the options for TLS."""
    rows: tuple[tuple[str, Callable[[str], object], str, str], ...] = (
        ("--user", _user, "USER",
         f"log in as USER (${USER}); without a file, prompt for the password"),
        ("--password-file", str, "FILE", f"its first line is the password (${PASSWORD_FILE})"),
        ("--tls-ca", Path, "FILE", "use TLS; the CA of the nodes' certificates ($RAFTLINE_TLS_CA)"),
        ("--tls-cert", Path, "FILE", "the client's own certificate ($RAFTLINE_TLS_CERT)"),
        ("--tls-key", Path, "FILE", "its key ($RAFTLINE_TLS_KEY)"),
        ("--tls-server-name", str, "HOST",
         "name in the node's certificate, if not its host ($RAFTLINE_TLS_SERVER_NAME)"),
    )  # fmt: skip
    group = parser.add_argument_group("login and TLS")
    for option, kind, metavar, what in rows:
        group.add_argument(option, type=kind, metavar=metavar, help=what)


def word_first(arguments: Sequence[str]) -> list[str]:
    """Move the options that precede the first word to the place after it; return the arguments.
    That word is the client command or its action. Without such a word, the arguments are
    unchanged."""
    position = 0
    while position < len(arguments) and arguments[position].startswith("-"):
        position += 2 if arguments[position] in ASKING_WITH_VALUE else 1
    before, rest = arguments[:position], arguments[position:]
    return [*rest[:1], *before, *rest[1:]]


def with_action(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of `member`, `user` or `role`, action first; the default is `list`."""
    typed = word_first(arguments)
    is_named = typed and (not typed[0].startswith("-") or typed[0] in ("-h", "--help"))
    return typed if is_named else ["list", *typed]


def access_of(options: argparse.Namespace) -> ClientAccess:
    """Return the access that the options name, or otherwise the URL of the nodes, or otherwise the
    environment. If no password is named, ask for it on the terminal.

    Raises:
        ConfigError: the TLS files or the password file can't be used, or no password was typed.
    """
    files = (options.tls_cert, options.tls_key, options.tls_ca, options.tls_server_name)
    of_url = _url_options(options)
    if files != (None, None, None, None):
        client_tls: ClientTls | None = tls.of_files(*files, tls.OPTIONS)
    else:
        client_tls = of_url.get("tls") or tls.of_environment()
    return ClientAccess(_user_of(options, of_url), client_tls)


def _url_options(options: argparse.Namespace) -> Mapping[str, Any]:
    """Return the options of the URL that names the nodes."""
    named: NamedNodes | None = getattr(options, "at", None)
    if named is None and getattr(options, "dir", None) is None and "node" not in options:
        named = nodes_of_environment()
    return {} if named is None else named.options


def _user_of(options: argparse.Namespace, of_url: Mapping[str, Any]) -> Credentials | None:
    file = options.password_file or os.environ.get(PASSWORD_FILE, "")
    user = options.user or of_url.get("user") or os.environ.get(USER, "")
    if not user:
        return None
    if "password" in of_url and not (options.user or options.password_file):
        return Credentials(user, of_url["password"])
    if file or sys.stdin is None or not sys.stdin.isatty():
        return _of_file(Credentials(user, file=file))
    password = typed_password(f"Password of {user}: ")
    if why := why_no_password(password):
        raise ConfigError(f"{user} can't log in: {why}")
    return Credentials(user, password)


def _of_file(credentials: Credentials) -> Credentials:
    """Return the credentials. Raises ConfigError if the file can't be used. A pipe is only read at
    the login, because it can be read only once."""
    file = credentials.file
    if file and (os.path.isfile(file) or not os.path.exists(file)):
        try:
            credentials.secret  # noqa: B018 - reading it checks it
        except LoginFailed as failure:
            raise ConfigError(str(failure)) from None
    return credentials


def typed_password(prompt: str) -> str:
    """Return the password typed at a prompt on the terminal, without echo.

    Raises:
        ConfigError: there was no line (Ctrl-D), or it is not valid UTF-8.
        SystemExit: Ctrl-C.
    """
    from getpass import getpass  # only needed for typed passwords

    try:
        with raised():  # else Ctrl-C would leave the terminal without its echo
            return getpass(prompt)
    except (EOFError, UnicodeDecodeError, KeyboardInterrupt) as error:
        if sys.stderr is not None and sys.stderr.isatty():
            print(file=sys.stderr)  # the prompt's line has not ended
        if isinstance(error, KeyboardInterrupt):
            raise SystemExit(EXIT_INTERRUPTED) from None
        why = "is not valid UTF-8" if isinstance(error, UnicodeDecodeError) else "is missing"
        raise ConfigError(f"the password {why}; type it, and then Enter") from None


def _user(text: str) -> str:
    if not NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a valid user name; {NAMED}")
    return text
