"""`raftline://user@h1:10000,h2/?tls-ca=ca.pem`: the nodes and the options of a client in one text.
Pure, except that it reads the files of TLS.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from raftline.common.address import Address

from .client_tls import ClientTls

SCHEME = "raftline://"
PORT = 10000  # of an address without one
_TLS = {"tls-ca": "ca", "tls-cert": "cert", "tls-key": "key", "tls-server-name": "server_name"}
_TIMES = ("timeout", "silence")
_FORM = "raftline://[USER[:PASSWORD]@]HOST[:PORT],…/[?OPTION=VALUE&…]"


class NamedNodes(NamedTuple):
    """Nodes, and the options of `connect` if a URL names the nodes."""

    addresses: list[Address]
    options: Mapping[str, Any]


def read_url(text: str) -> NamedNodes:
    """Return the parts of a URL.

    Raises:
        ValueError: the URL is invalid. The message does not repeat it, as it may hold a password.
    """
    from urllib.parse import parse_qsl  # only a URL needs it

    place, mark, query = text.removeprefix(SCHEME).partition("?")
    authority, _, path = place.partition("/")
    if path or "#" in text:
        raise ValueError(f"a URL of raftline has no path and no fragment: {_FORM}")
    login, _, hosts = authority.rpartition("@")
    options = _login(login) if login else {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if mark else []
    except ValueError:
        raise ValueError(f"the options of a URL of raftline are invalid: {_FORM}") from None
    options |= _options(pairs)
    return NamedNodes([_address(each) for each in hosts.split(",")], options)


def _login(login: str) -> dict[str, Any]:
    from urllib.parse import unquote

    user, colon, password = login.partition(":")
    options = {"user": unquote(user)}
    return {**options, "password": unquote(password)} if colon else options


def _address(text: str) -> Address:
    has_port = ":" in text.rpartition("]")[2]
    return Address.parse(text if has_port else f"{text}:{PORT}")


def _options(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    tls: dict[str, str] = {}
    for name, value in pairs:
        if name in options or _TLS.get(name) in tls:
            raise ValueError(f"the URL gives {name} twice")
        if name in _TLS:
            tls[_TLS[name]] = value
        elif name in _TIMES:
            options[name] = _seconds(name, value)
        elif name == "name":
            options[name] = value
        else:
            known = ", ".join(["name", *_TIMES, *_TLS])
            raise ValueError(f"a URL of raftline has no option {name!r}; the options are {known}")
    return {**options, "tls": ClientTls(**tls)} if tls else options


def _seconds(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name}={text}: give a number of seconds") from None
