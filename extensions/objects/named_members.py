"""The members that a program names: check them, and write them to a file for other programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from raftline.common import config
from raftline.common.address import Address, is_loopback
from raftline.common.config import ConfigError, Configuration
from raftline.node.program import joining


def resolve_members(folder: Path, name: str, members: Mapping[str, str] | None) -> Configuration:
    """Return the members, and write `members` to the file if it does not exist yet.

    Raises:
        ConfigError: the members can't be used, or differ from the file.
    """
    path = folder / config.FILE_NAME
    if members is None and not path.exists():
        raise ConfigError(
            f"the members are neither given nor written in {path}: say "
            f'members={{"{name}": "127.0.0.1:8000", …}}'
        )
    configuration = config.read(path) if members is None else _written(path, members)
    if name not in configuration.members:
        names = " ".join(configuration.members)
        raise ConfigError(f"{name} is not among the members ({names}): name its own host:port, too")
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
    given = config.parse(path, text, named="members")
    existing = joining.begun(path, text)
    if dict(existing.members) != dict(given.members):
        raise ConfigError(
            f"{path} names other members than this program; the nodes' files next to it belong to "
            "those members. Correct one of the two, or choose another dir"
        )
    return existing


def check_open(host: str, open_to_network: bool) -> None:
    """Raise ConfigError if other machines could reach the node without `open_to_network`."""
    if not is_loopback(host) and not open_to_network:
        raise ConfigError(
            f"{host} can be reached from other machines; to allow that, set open_to_network=True"
        )
