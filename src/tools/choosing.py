"""The cluster that `raftline up` starts, and its members on this machine.

A configuration file names the members, and so do the logs in its folder.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..clients.options import ClientAccess
from ..common import config
from ..common.address import PORT_MAX, Address, is_loopback
from ..common.config import NAME, ConfigError, Configuration
from ..node import joining
from ..raft.membership import Configurations, Membership
from ..storage.disk import StorageError
from ..storage.folder import Folder
from ..storage.hardstate import Mark
from ..storage.logreader import LogReader
from . import status

DEFAULT_NODES = 3
DEFAULT_BASE_PORT = 10000
ASK_S = 1.0
_Known = tuple[tuple[int, int], Membership]  # term and index of a log's end; the members it names


def choose(folder: str | None, count: int | None, base_port: int | None) -> Configuration:
    """Return the existing configuration, or a new one with s1…sN, not written yet.

    Raises:
        ConfigError: the existing one differs from the request, or can't be used.
    """
    try:
        path = config.locate(folder)
    except ConfigError:
        if folder is not None:
            raise
        path = Path(config.DEFAULT_FOLDER) / config.FILE_NAME
    if path.exists():
        found = config.read(path)
    else:
        found = _begun(path, count or DEFAULT_NODES, base_port or DEFAULT_BASE_PORT)
    names = [f"s{n + 1}" for n in range(count)] if count else list(found.members)
    first = base_port or next(iter(found.members.values())).port
    ports = [address.port for address in found.members.values()]
    other_names = count is not None and names != list(found.members)
    other_ports = base_port is not None and ports != _ports_from(first, names)
    if other_names or other_ports:
        raise ConfigError(
            f"{path} names {described(found)}, but {' '.join(names)} on "
            f"{_port_range(_ports_from(first, names))} were asked for; name another folder with "
            "--dir, or leave out -n and --base-port"
        )
    return found


def _begun(path: Path, count: int, base_port: int) -> Configuration:
    """Return a new configuration: s1, s2, … on localhost, on ports from `base_port` up.

    Raises:
        ConfigError: a port would lie above 65535.
    """
    if base_port + count - 1 > PORT_MAX:
        raise ConfigError(
            f"{count} nodes from port {base_port} on need ports up to {base_port + count - 1}, and "
            f"{PORT_MAX} is the last; begin lower"
        )
    lines = [f"s{n + 1} localhost {base_port + n}\n" for n in range(count)]
    text = config.HEADER + "".join(lines)
    return replace(config.parse(path, text), added=text)


def write_down(configuration: Configuration) -> None:
    """Write a new configuration, once its ports are known to be free.

    Raises:
        ConfigError: the file can't be written, or another process wrote other members.
    """
    if not configuration.added:
        return
    written = joining.begun(configuration.path, configuration.added)
    if written.members != configuration.members:
        raise ConfigError(
            f"{written.path} was begun by another meanwhile and names {described(written)}; "
            "name another folder with --dir, or try again without -n and --base-port"
        )


def described(configuration: Configuration) -> str:
    """Return the members in a few words: `s1 s2 s3 on ports 10000-10002`. With several hosts it
    names the address of each."""
    addresses = configuration.members.values()
    where = _port_range([address.port for address in addresses])
    if len({address.host for address in addresses}) > 1:
        where = " ".join(map(str, addresses))
    return f"{' '.join(configuration.members)} on {where}"


def _ports_from(first: int, names: Sequence[str]) -> list[int]:
    return [first + n for n in range(len(names))]


def _port_range(ports: Sequence[int]) -> str:
    if len(ports) == 1:
        return f"port {ports[0]}"
    if list(ports) == list(range(ports[0], ports[0] + len(ports))):
        return f"ports {ports[0]}-{ports[-1]}"
    return "ports " + " ".join(str(port) for port in ports)


def check_local(configuration: Configuration) -> None:
    """Make sure that all members are on this machine.

    Raises:
        ConfigError: one is not.
    """
    for name, address in configuration.members.items():
        if not is_loopback(address.host):
            raise ConfigError(
                f"{configuration.path}: {name} is on {address.host}, and `raftline up` starts "
                "nodes on localhost only; start that one where it belongs, with raftline-server"
            )


def local_members(configuration: Configuration) -> tuple[Configuration, list[str]]:
    """Return the configuration with the members to start from its folder, and for each other node
    a reason not to.

    A member is of the folder if the configuration names it, or its log is here. Before
    there is a log the configuration alone names the members.

    Raises:
        ConfigError: no member is of this folder, or TLS of the environment can't be used.
    """
    folder = configuration.folder
    known = _related(_logs(folder), configuration.members)
    spoken = [log for log in known.values() if log[1].names]
    if not spoken:
        return configuration, []
    members = max(spoken, key=lambda log: log[0])[1]
    here: dict[str, Address] = {}
    others = [
        f"{name} (no member, says the newest log)"
        for name in dict.fromkeys((*configuration.members, *sorted(known)))
        if name not in members.names
    ]
    for name in members.names:
        if name in configuration.members:  # its address outranks that of a log
            here[name] = configuration.members[name]
        elif name not in known:
            others.append(f"{name} (there is no {folder / name}.log)")
        elif _runs(name, address := Address.parse(members.addresses[name])):
            others.append(f"{name} (runs already on {address})")
        else:
            here[name] = address
    if not here:
        raise ConfigError(f"{folder}: nothing to start here; not started: {', '.join(others)}")
    return replace(configuration, members=here), others


def _runs(name: str, address: Address) -> bool:
    """Whether the node is up: it may have been started in another terminal, to join."""
    return status.ask(name, address, ClientAccess.of_environment(), ASK_S).answer is not None


def _logs(folder: Path) -> dict[str, _Known]:
    """Return the members in each log of the folder. Nodes report damaged logs themselves."""
    found = {}
    for path in sorted(folder.glob("*.log")):
        if NAME.fullmatch(path.stem):
            with contextlib.suppress(StorageError):
                read = LogReader(Folder(folder), path.name, Mark(0, 0)).read()
                log = read.log
                latest = Configurations(log.base_index, read.members, log.commands).latest
                found[path.stem] = (log.last_term, log.last_index), latest
    return found


def _related(logs: Mapping[str, _Known], names: Collection[str]) -> dict[str, _Known]:
    """Return the logs of this cluster. They are those of nodes that the configuration or such a
    log names, and logs that name such a node. A log without members waits to be added."""
    named, related = set(names), {name: log for name, log in logs.items() if not log[1].names}
    while more := {
        name: log
        for name, log in logs.items()
        if name not in related and named.intersection((name, *log[1].names))
    }:
        related |= more
        named.update(*(members.names for _, members in more.values()))
    return related
