"""The nodes of a cluster that may be asked: as a program or a person names them, or as found."""

from __future__ import annotations

import os
from pathlib import Path

from raftline.common import config
from raftline.common.address import Address
from raftline.common.config import ConfigError

VARIABLE = "RAFTLINE"  # environment variable with addresses of nodes


def addresses_in(text: str) -> list[Address]:
    """Return the addresses in `h1:10000,h2:10000`. Raises ValueError if one has another form."""
    return [Address.parse(each.strip(" ")) for each in text.split(",")]


def discover_endpoints(folder: str | Path | None, otherwise: str) -> list[Address]:
    """Return the addresses in $RAFTLINE, else those in the configuration of the folder; of this one
    alone if it is named. `otherwise` explains how else to name them.

    Raises:
        ConfigError: there are none.
    """
    listed = os.environ.get(VARIABLE)
    if folder is None and listed:
        try:
            return addresses_in(listed)
        except ValueError as problem:
            raise ConfigError(f"${VARIABLE}: {problem}") from None
    try:
        return list(config.load(folder).members.values())
    except ConfigError as problem:
        if folder is None:
            raise ConfigError(f"{problem}; or say where: {otherwise}, or ${VARIABLE}") from None
        raise
