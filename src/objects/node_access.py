"""Admission to a node inside a program: the settings of `raftline server`, by keyword."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from raftline.access.login import Access
from raftline.access.roles import ANONYMOUS
from raftline.access.secret import MODES, PeerRule
from raftline.access.tls import Tls
from raftline.clients.login import Credentials, credentials_of
from raftline.clients.tls import ClientTls
from raftline.common.config import ConfigError
from raftline.node import boot
from raftline.node.reading_again import readers_of
from raftline.node.server import Server

_FILES = ("secret", "users", "tls_cert", "tls_key", "tls_ca", "tls_crl")
_OPTION = re.compile("--([a-z]+(?:-[a-z]+)*)")


class AccessSettings(NamedTuple):
    """The options of `raftline server` for who may come in, and as whom objects ask.

    A file is a path. `user` and `password` log the node's own objects in at the other nodes.
    """

    secret: str | Path | None
    secret_mode: str | None
    users: str | Path | None
    anonymous: str | None
    tls_cert: str | Path | None
    tls_key: str | Path | None
    tls_ca: str | Path | None
    tls_only: bool
    tls_require: bool
    tls_crl: str | Path | None
    insecure: bool
    user: str | None
    password: str | None

    def __repr__(self) -> str:
        return "<the settings of a node's access>"  # a password is one of them

    def credentials(self) -> Credentials | None:
        """Return what the objects log in with. Raises ValueError if that can't be."""
        return credentials_of(self.user, self.password)


class NodeAccess(NamedTuple):
    """The meaning of these settings: for the node, then for the clients of its objects."""

    rule: PeerRule
    tls: Tls | None
    access: Access | None
    client_tls: ClientTls | None
    credentials: Credentials | None
    warnings: Sequence[str]
    is_protected: bool


def settle(host: str, settings: AccessSettings) -> NodeAccess:
    """Return what the settings of a node that listens on `host` make.

    Raises:
        ConfigError: one of them can't be, or a file can't be used, or nobody has to prove anything
            though others reach the node.
    """
    try:
        return _settled(_arguments(host, settings), settings.credentials())
    except ConfigError as problem:
        raise ConfigError(in_keywords(str(problem))) from None


def _arguments(host: str, settings: AccessSettings) -> Namespace:
    """Return the settings as those of a server (node/boot.py)."""
    given = settings._asdict()
    files = {name: Path(given[name]) for name in _FILES if given[name] is not None}
    for name, choices in (("secret_mode", MODES), ("anonymous", tuple(ANONYMOUS))):
        if given[name] not in (None, *choices):
            raise ConfigError(f"{name}: {given[name]!r} is none of: {', '.join(choices)}")
    return Namespace(**{**given, **files}, host=host)


def _settled(arguments: Namespace, credentials: Credentials | None) -> NodeAccess:
    boot.check_access(arguments)
    rule, tls = boot.proofs_of(arguments)
    client_tls = ClientTls.of(tls) if tls is not None else None
    warnings = [in_keywords(line) for line in boot.warnings(arguments)]
    access = boot.access_of(arguments)
    is_protected = boot.is_protected(arguments)
    return NodeAccess(rule, tls, access, client_tls, credentials, warnings, is_protected)


def read_again(server: Server) -> str:
    """Have a node read the files of users, certificates and secret; return what went wrong."""
    problems = []
    for read in readers_of(server).values():
        try:
            read()
        except ConfigError as problem:
            problems.append(in_keywords(str(problem)))
    return "; ".join(problems)


def in_keywords(text: str) -> str:
    """Return a message in which each option of a server is the keyword of a `Node`."""
    return _OPTION.sub(lambda option: option[1].replace("-", "_"), text)
