"""`HOST:PORT`, as people and programs name nodes."""

from __future__ import annotations

from raftline.common import config
from raftline.common.config import Address, ConfigError


def address_in(text: str) -> Address:
    """Return what `host:port` names. Raises ValueError where it is none."""
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is no address: host:port, such as '127.0.0.1:8000'")
    host, colon, port = text.rpartition(":")
    host = without_brackets(host)
    try:
        if colon and config.HOST.fullmatch(host):
            return Address(host, config.port_number(port, text))
    except ConfigError:
        pass
    raise ValueError(f"{text!r} is no address: host:port, such as 127.0.0.1:8000")


def addresses_in(text: str) -> list[Address]:
    """Return what `host:port,host:port` names. Raises ValueError where one of them is none."""
    return [address_in(each.strip(" ")) for each in text.split(",")]


def without_brackets(host: str) -> str:
    """Return `::1` of `[::1]`, as a sorry line spells it; another host as it is."""
    inner = host.removeprefix("[").removesuffix("]")
    return inner if f"[{inner}]" == host and ":" in inner else host
