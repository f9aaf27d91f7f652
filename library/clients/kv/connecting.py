"""The options of `raftline.connect()` and `raftline.aio.connect()`: one table for both.

`ConnectOptions` has a row for each option: its type, its default, its check and its sentence in the
documentation. The signature and the help of both functions, and the table of docs/use/python.md,
are made from these rows.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import (
    Annotated,
    Any,
    NamedTuple,
    TypeAlias,
    TypedDict,
    TypeVar,
    cast,
    get_type_hints,
)

from raftline.common.address import Address
from raftline.common.config import ConfigError

from ..connections.address_options import (
    addresses_in,
    discover_nodes,
    nodes_of_environment,
    read_nodes,
)
from ..connections.client_access import ClientAccess
from ..connections.client_login import credentials_of
from ..connections.client_tls import ClientTls, tls_of
from ..connections.connect_url import NamedNodes
from ..connections.node_connection import Unreachable
from ..requests.conversation import name_of_client
from ..requests.health import SILENCE_S, silence_limit
from ..requests.pool import TIMEOUT_S, time_limit
from ..requests.times import Seconds

Nodes: TypeAlias = str | Iterable[str]
_Connect = TypeVar("_Connect", bound=Callable[..., object])


class Option(NamedTuple):
    """A row of the table."""

    default: Any
    check: Callable[[Any], Any]  # returns the value; raises TypeError, ValueError
    variable: str  # of the environment, which replaces the default
    sentence: str


def _text(what: str) -> Callable[[str | None], str | None]:
    def check(text: str | None) -> str | None:
        if text is not None and not isinstance(text, str):
            raise TypeError(f"{what} is a str, not {type(text).__name__}")
        return text

    return check


def _folder(folder: str | Path | None) -> str | Path | None:
    if folder is not None and not isinstance(folder, str | os.PathLike):
        raise TypeError(f"folder is a path, not of type {type(folder).__name__}")
    return folder


class ConnectOptions(TypedDict, total=False):
    """The options of `connect`, each with its row."""

    timeout: Annotated[
        Seconds,
        Option(TIMEOUT_S, time_limit, "", "The time limit of each call, in seconds."),
    ]
    name: Annotated[
        str,
        Option(
            "program", name_of_client, "",
            "The client's name, as nodes see it; its sessions are named after it.",
        ),
    ]  # fmt: skip
    folder: Annotated[
        str | Path | None,
        Option(
            None, _folder, "",
            "The folder whose `server-configuration.txt` names the nodes.",
        ),
    ]  # fmt: skip
    user: Annotated[
        str | None,
        Option(
            None, _text("user"), "RAFTLINE_USER", "The user to log in as, on each connection."
        ),
    ]  # fmt: skip
    password: Annotated[
        str | None,
        Option(
            None, _text("password"), "RAFTLINE_PASSWORD_FILE",
            "The user's password; the variable names a file with the password as its first line.",
        ),
    ]  # fmt: skip
    tls: Annotated[
        ClientTls | None,
        Option(
            None, tls_of, "RAFTLINE_TLS_CA",
            "The files for TLS, as `raftline.ClientTls(ca=, cert=, key=, server_name=)`; "
            "the variables are `RAFTLINE_TLS_CA`, `_CERT`, `_KEY` and `_SERVER_NAME`.",
        ),
    ]  # fmt: skip
    silence: Annotated[
        Seconds,
        Option(
            SILENCE_S, silence_limit, "",
            "The seconds for which the node of a watch may send nothing, at least 1. "
            "After that the watch, or a waiting lock, moves to another node.",
        ),
    ]  # fmt: skip


_TYPES = get_type_hints(ConnectOptions, include_extras=True)
OPTIONS: dict[str, Option] = {name: kind.__metadata__[0] for name, kind in _TYPES.items()}


class ConnectSettings(NamedTuple):
    """The checked options of a client."""

    addresses: list[Address]
    timeout_s: float
    name: str
    access: ClientAccess
    silence_s: float


def settings_of(at: Nodes | None, options: ConnectOptions) -> ConnectSettings:
    """Return the settings of a client.

    Raises:
        TypeError, ValueError: an option is unknown or invalid.
        Unreachable: no node is named anywhere.
    """
    for name in options.keys() - OPTIONS.keys():
        instead = "use kv.binary" if name == "binary" else f"the options are {', '.join(OPTIONS)}"
        raise TypeError(f"connect() has no option {name!r}: {instead}")
    named = _named(at, options.get("folder"))
    of_url: Mapping[str, Any] = {} if named is None else named.options
    if at is not None:
        for name in of_url.keys() & options.keys():
            raise ValueError(f"{name} is in the URL and an argument of connect; give one of them")
    elif options.get("user") is not None:  # not with the password of another user
        of_url = {name: value for name, value in of_url.items() if name != "password"}
    chosen: dict[str, Any] = {**of_url, **options}
    values = {
        name: option.check(chosen.get(name, option.default)) for name, option in OPTIONS.items()
    }
    return ConnectSettings(
        _addresses(at, named, values["folder"]),
        values["timeout"],
        values["name"],
        ClientAccess(credentials_of(values["user"], values["password"]), values["tls"]),
        values["silence"],
    )


def _named(at: Nodes | None, folder: object) -> NamedNodes | None:
    """Return the nodes in a text, a list, or $RAFTLINE. Raises TypeError, ValueError,
    Unreachable."""
    if isinstance(at, str):
        return read_nodes(at)
    if at is None:
        try:
            return nodes_of_environment() if folder is None else None
        except ConfigError as problem:
            raise Unreachable(str(problem)) from None
    if not hasattr(at, "__iter__"):
        raise TypeError(
            f'the nodes are one text, "h1:10000,h2:10000", or a list of such texts, not '
            f"{type(at).__name__}"
        )
    addresses: list[Address] = []
    for each in at:
        if not isinstance(each, str):
            raise TypeError(f'a node is a text, "h1:10000", not {type(each).__name__}')
        addresses += addresses_in(each)
    if not addresses:
        raise ValueError("the list names no node")
    return NamedNodes(addresses, {})


def _addresses(
    at: Nodes | None, named: NamedNodes | None, folder: str | Path | None
) -> list[Address]:
    """Return the nodes that a program or $RAFTLINE names, or otherwise the nodes in a
    configuration.

    Raises:
        ValueError: a folder names the nodes as well. Unreachable: no node is named anywhere.
    """
    if named is not None:
        if at is not None and folder is not None:
            raise ValueError("at and folder both name the nodes to ask; give one of them")
        return named.addresses
    try:
        return list(discover_nodes(folder, 'connect("HOST:PORT,…")', "folder=").values())
    except ConfigError as problem:
        raise Unreachable(str(problem)) from None


def with_options(connect: _Connect) -> _Connect:
    """Give a function the signature and the help of the table."""
    kind = inspect.Parameter
    signature = inspect.signature(connect)
    first = signature.parameters["at"]
    rows = [
        kind(name, kind.KEYWORD_ONLY, default=row.default, annotation=_TYPES[name].__origin__)
        for name, row in OPTIONS.items()
    ]
    cast(Any, connect).__signature__ = signature.replace(parameters=[first, *rows])
    if connect.__doc__:  # not with python -OO
        lines = [f"{name}: {row.sentence}" for name, row in OPTIONS.items()]
        connect.__doc__ = "\n    ".join([connect.__doc__.rstrip(), "", "Options:", *lines])
    return connect
