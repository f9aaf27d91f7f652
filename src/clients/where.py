"""The nodes of a cluster that may be asked: as a program or a person names them, or as found."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..common import config
from ..common.address import Address
from ..common.config import ConfigError

VARIABLE = "RAFTLINE"  # environment variable with addresses of nodes


def addresses_in(text: str) -> list[Address]:
    """Return the addresses in `h1:10000,h2:10000`. Raises ValueError if one has another form."""
    return [Address.parse(each.strip(" ")) for each in text.split(",")]


def named_nodes(at: Sequence[Address] | None, folder: str | Path | None) -> Mapping[str, Address]:
    """Return the nodes that a command is to ask: those of `--at`, else of `--dir`, $RAFTLINE, or
    the nearest folder's configuration. A node that is named by its address alone has that for
    its name.

    Raises:
        ConfigError: there are none, or two options name them.
    """
    if at is None:
        named = "" if folder is None else "--dir FOLDER, "
        return discover_nodes(folder, f"{named}--at HOST:PORT")
    if folder is not None:
        raise ConfigError("--at and --dir both say where to ask; give one of them")
    return by_address(at)


def has_name(node: str) -> bool:
    """Whether this names a node, and is not an address in place of a name."""
    return ":" not in node


def by_address(addresses: Sequence[Address]) -> Mapping[str, Address]:
    """Return the nodes, each by its address in place of its name."""
    return {str(address): address for address in addresses}


def discover_nodes(
    folder: str | Path | None, otherwise: str, option: str = "--dir"
) -> Mapping[str, Address]:
    """Return the nodes in $RAFTLINE, else those in the configuration of the folder; of this one
    alone if it is named. `otherwise` explains how else to name them, and `option` names the folder.

    Raises:
        ConfigError: there are none.
    """
    listed = os.environ.get(VARIABLE)
    if folder is None and listed:
        try:
            return by_address(addresses_in(listed))
        except ValueError as problem:
            raise ConfigError(f"${VARIABLE}: {problem}") from None
    if folder and not (path := config.locate(folder)).exists():
        raise ConfigError(
            f"{folder}: no cluster is here, as there is no {path.name}; "
            f"say where one is: {otherwise}, or ${VARIABLE}"
        )
    try:
        return config.load(folder, option).members
    except ConfigError as problem:
        if folder is None:
            raise ConfigError(f"{problem}; or say where: {otherwise}, or ${VARIABLE}") from None
        raise
