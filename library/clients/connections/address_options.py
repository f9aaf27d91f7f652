"""The nodes of a cluster that a client asks: named by a program or a user, or discovered."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from raftline.common import config
from raftline.common.address import Address
from raftline.common.config import ConfigError

from .connect_url import SCHEME, NamedNodes, read_url

VARIABLE = "RAFTLINE"  # the environment variable with the addresses of nodes, or a URL


def read_nodes(text: str) -> NamedNodes:
    """Return the nodes in `h1:10000,h2:10000` or in a URL. Raises ValueError."""
    if text.startswith(SCHEME):
        return read_url(text)
    return NamedNodes(addresses_in(text), {})


def nodes_of_environment() -> NamedNodes | None:
    """Return the nodes in $RAFTLINE; None if it is not set. Raises ConfigError."""
    text = os.environ.get(VARIABLE)
    try:
        return read_nodes(text) if text else None
    except ValueError as problem:
        raise ConfigError(f"${VARIABLE}: {problem}") from None


def addresses_in(text: str) -> list[Address]:
    """Return the addresses in `h1:10000,h2:10000`. Raises ValueError if an address is invalid."""
    return [Address.parse(each.strip(" ")) for each in text.split(",")]


def named_nodes(at: NamedNodes | None, folder: str | Path | None) -> Mapping[str, Address]:
    """Return the nodes that a command should ask: from `--at`, or otherwise from `--dir`,
    $RAFTLINE, or the nearest folder's configuration. If only the address of a node is given, the
    address is also its name.

    Raises:
        ConfigError: there are no nodes, or two options name them.
    """
    if at is None:
        option = "" if folder is None else "--dir FOLDER, "
        return discover_nodes(folder, f"{option}--at HOST:PORT")
    if folder is not None:
        raise ConfigError("--at and --dir both say where to ask; give one of them")
    return by_address(at.addresses)


def has_name(node: str) -> bool:
    """Return whether this is the name of a node, and not an address."""
    return ":" not in node


def by_address(addresses: Sequence[Address]) -> Mapping[str, Address]:
    """Return the nodes, with their addresses as their names."""
    return {str(address): address for address in addresses}


def discover_nodes(
    folder: str | Path | None, otherwise: str, option: str = "--dir"
) -> Mapping[str, Address]:
    """Return the nodes in $RAFTLINE, or otherwise the nodes in the configuration of the nearest
    folder. If a folder is given, use only its configuration. `otherwise` explains other ways to
    name the nodes, and `option` is the option that names the folder.

    Raises:
        ConfigError: there are no nodes.
    """
    if folder is None and (named := nodes_of_environment()):
        return by_address(named.addresses)
    if folder and not (path := config.locate(folder)).exists():
        raise ConfigError(
            f"{folder}: there is no cluster here, as {path.name} is missing; "
            f"say where it is: {otherwise}, or ${VARIABLE}"
        )
    try:
        return config.load(folder, option).members
    except ConfigError as problem:
        if folder is None:
            raise ConfigError(f"{problem}; or say where: {otherwise}, or ${VARIABLE}") from None
        raise
