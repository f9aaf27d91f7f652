"""`raftline.connect()`: the nodes to ask, the time limit, the login."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, overload

from ...common.address import Address
from ...common.config import ConfigError
from ..calls.value_codec import BINARY, TEXT
from ..requests.address_options import addresses_in, discover_nodes
from ..requests.client_login import credentials_of
from ..requests.client_tls import ClientTls
from ..requests.health import SILENCE_S
from ..requests.node_connection import Unreachable
from ..requests.pool import TIMEOUT_S, Clients
from .kv import KV


def addresses_of(at: str | None, folder: str | Path | None) -> list[Address]:
    """Return the nodes to ask: the nodes in `at`, or otherwise the nodes in $RAFTLINE or in a
    configuration.

    Raises:
        ValueError: an address in `at` has an invalid form. TypeError: `at` is not a string.
        Unreachable: no node is named anywhere.
    """
    if at is not None:
        if not isinstance(at, str):
            raise TypeError(f'the nodes are one text, "h1:10000,h2:10000", not {type(at).__name__}')
        if folder is not None:
            raise ValueError("at and folder both name the nodes to ask; give one of them")
        return addresses_in(at)
    try:
        return list(discover_nodes(folder, 'connect("HOST:PORT,…")', "folder=").values())
    except ConfigError as problem:
        raise Unreachable(str(problem)) from None


@overload
def connect(
    at: str | None = None,
    *,
    timeout: float = TIMEOUT_S,
    name: str = "program",
    binary: Literal[False] = False,
    folder: str | Path | None = None,
    user: str | None = None,
    password: str | None = None,
    tls: ClientTls | None = None,
    silence: float = SILENCE_S,
) -> KV[str]: ...
@overload
def connect(
    at: str | None = None,
    *,
    timeout: float = TIMEOUT_S,
    name: str = "program",
    binary: Literal[True],
    folder: str | Path | None = None,
    user: str | None = None,
    password: str | None = None,
    tls: ClientTls | None = None,
    silence: float = SILENCE_S,
) -> KV[bytes]: ...
def connect(
    at: str | None = None,
    *,
    timeout: float = TIMEOUT_S,
    name: str = "program",
    binary: bool = False,
    folder: str | Path | None = None,
    user: str | None = None,
    password: str | None = None,
    tls: ClientTls | None = None,
    silence: float = SILENCE_S,
) -> KV[str] | KV[bytes]:
    """Return the cluster's keys and values as a mapping, without sending a request yet.

    `at` names some of its nodes, as in `"h1:10000,h2:10000"`. Without it the nodes come from
    $RAFTLINE, or otherwise from the `server-configuration.txt` in `folder` or in the nearest folder
    that has one. Each call ends within `timeout` seconds or slightly more. The nodes see the client
    as `name`, which is also the first part of the names of its sessions. With `binary`, keys and
    values are bytes. Each connection logs in as `user` if one is given, otherwise as $RAFTLINE_USER
    with the password in the file $RAFTLINE_PASSWORD_FILE. It uses TLS as `tls` says, or otherwise
    as $RAFTLINE_TLS_CA and the related variables say. A watch or a waiting lock moves to another
    node if its node sends nothing for `silence` seconds.

    Raises:
        ValueError, TypeError: an option is invalid.
        Unreachable: no node is named anywhere.
    """
    clients = Clients(
        *map(str, addresses_of(at, folder)),
        name=name,
        timeout=timeout,
        credentials=credentials_of(user, password),
        tls=tls,
        silence=silence,
    )
    return KV(clients, BINARY) if binary else KV(clients, TEXT)
