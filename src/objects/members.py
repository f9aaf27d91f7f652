"""The members that a program names: checked, and written down for the other programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..common import config
from ..common.address import Address, is_loopback
from ..common.config import ConfigError, Configuration
from ..node import joining


def resolve_members(folder: Path, name: str, members: Mapping[str, str] | None) -> Configuration:
    """Return the members; `members` are written down if nothing is yet.

    Raises:
        ConfigError: they can't be used, or the file holds something else.
    """
    path = folder / config.FILE_NAME
    if members is None and not path.exists():
        raise ConfigError(
            f"who the members are is neither said nor written in {path}: say "
            f'members={{"{name}": "127.0.0.1:8000", …}}'
        )
    configuration = config.read(path) if members is None else _written(path, members)
    if name not in configuration.members:
        known = " ".join(configuration.members)
        raise ConfigError(f"{name} is none of the members ({known}): name its own host:port, too")
    return configuration


def _written(path: Path, members: Mapping[str, str]) -> Configuration:
    if not isinstance(members, Mapping):
        raise ConfigError(
            f"members is a dict of each name to its host:port, not of type {type(members).__name__}"
        )
    if not members:
        raise ConfigError('members names nobody: say {"node1": "127.0.0.1:8000", …}')
    try:
        for name in members:
            config.check_name(str(name))
        addresses = {name: Address.parse(each) for name, each in members.items()}
    except (ConfigError, ValueError) as error:
        raise ConfigError(f"members: {error}") from None
    lines = [f"{name} {host} {port}\n" for name, (host, port) in addresses.items()]
    text = config.HEADER + "".join(lines)
    wanted = config.parse(path, text, named="members")
    there = joining.begun(path, text)
    if dict(there.members) != dict(wanted.members):
        raise ConfigError(
            f"{path} names other members than this program does; the nodes' files beside it belong "
            "to those. Correct one of the two, or choose another dir"
        )
    return there


def check_open(host: str, open_to_network: bool) -> None:
    """Raise ConfigError if other machines would reach the node and that was not asked for."""
    if not is_loopback(host) and not open_to_network:
        raise ConfigError(
            f"{host} can be reached from other machines; if that is meant, say open_to_network=True"
        )
