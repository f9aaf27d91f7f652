"""`raftline.connect()`: the nodes to ask, the time limit, the login."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, overload

from ..clients.connection import Unreachable
from ..clients.health import SILENCE_S
from ..clients.login import credentials_of
from ..clients.pool import TIMEOUT_S, Clients
from ..clients.tls import ClientTls
from ..clients.where import addresses_in, discover_nodes
from ..common.address import Address
from ..common.config import ConfigError
from .codec import BINARY, TEXT
from .store import KV


def addresses_of(at: str | None, folder: str | Path | None) -> list[Address]:
    """Return the nodes to ask: those named, else those of $RAFTLINE or of a configuration.

    Raises:
        ValueError: a named address has another form. TypeError: it is not a text.
        Unreachable: none is named anywhere.
    """
    if at is not None:
        if not isinstance(at, str):
            raise TypeError(f'the nodes are one text, "h1:10000,h2:10000", not {type(at).__name__}')
        if folder is not None:
            raise ValueError("at and folder both say where to ask; give one of them")
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
    """Return the cluster's keys and values as a mapping; no node is asked yet.

    `at` names some of its nodes, `"h1:10000,h2:10000"`. Without it $RAFTLINE does, else the
    `server-configuration.txt` of `folder`, or of the nearest folder that has one. Each call ends
    within `timeout` seconds or little more. `name` is what the nodes see, and begins the names of
    sessions. With `binary` keys and values are bytes. Each connection is logged in as `user`, if
    there is one, else as $RAFTLINE_USER, with the password of the file $RAFTLINE_PASSWORD_FILE. It
    speaks TLS with `tls`, else as $RAFTLINE_TLS_CA and its like have it. A watch, and a lock that
    waits, goes on at another node after `silence` seconds in which its node sent nothing.

    Raises:
        ValueError, TypeError: an option can't be used.
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
