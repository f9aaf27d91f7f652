"""The cluster that `raftline up` starts, and its members on this machine.

Both the configuration file and the logs in its folder name the members.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from raftline.clients.connections.client_access import ClientAccess
from raftline.common import config
from raftline.common.address import PORT_MAX, Address, is_loopback
from raftline.common.config import NAME, ConfigError, Configuration
from raftline.node.program import joining
from raftline.raft.membership import Configurations, Membership
from raftline.storage.disk import StorageError
from raftline.storage.folder import Folder
from raftline.storage.hard_state import Mark
from raftline.storage.log_reader import LogReader

from ..status import status

DEFAULT_NODES = 3
DEFAULT_BASE_PORT = 10000
ASK_S = 1.0
_Known = tuple[tuple[int, int], Membership]  # term and index of a log's end; the members it names


def choose(folder: str | None, count: int | None, base_port: int | None) -> Configuration:
    """Return the existing configuration, or a new, unwritten one with s1…sN.

    Raises:
        ConfigError: the existing configuration differs from the request, or can't be used.
    """
    try:
        path = config.locate(folder)
    except ConfigError:
        if folder is not None:
            raise
        path = Path(config.DEFAULT_FOLDER) / config.FILE_NAME
    if path.exists():
        configuration = config.read(path)
    else:
        configuration = _begun(path, count or DEFAULT_NODES, base_port or DEFAULT_BASE_PORT)
    names = [f"s{n + 1}" for n in range(count)] if count else list(configuration.members)
    first = base_port or next(iter(configuration.members.values())).port
    ports = [address.port for address in configuration.members.values()]
    other_names = count is not None and names != list(configuration.members)
    other_ports = base_port is not None and ports != _ports_from(first, names)
    if other_names or other_ports:
        raise ConfigError(
            f"{path} names {described(configuration)}, but {' '.join(names)} on "
            f"{_port_range(_ports_from(first, names))} were asked for; name another folder with "
            "--dir, or leave out -n and --base-port"
        )
    return configuration


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
    """Write a new configuration, after its ports were found to be free.

    Raises:
        ConfigError: the file can't be written, or another process wrote other members.
    """
    if not configuration.added:
        return
    current = joining.begun(configuration.path, configuration.added)
    if current.members != configuration.members:
        raise ConfigError(
            f"{current.path} was just written by another process and names {described(current)}; "
            "name another folder with --dir, or try again without -n and --base-port"
        )


def described(configuration: Configuration) -> str:
    """Return a short description of the members: `s1 s2 s3 on ports 10000-10002`. With several
    hosts, it gives the address of each member."""
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
    """Check that all members are on this machine.

    Raises:
        ConfigError: a member is elsewhere.
    """
    for name, address in configuration.members.items():
        if not is_loopback(address.host):
            raise ConfigError(
                f"{configuration.path}: {name} is on {address.host}, and `raftline up` starts "
                "nodes on localhost only; start that one on its host, with raftline-server"
            )


def local_members(configuration: Configuration) -> tuple[Configuration, list[str]]:
    """Return the configuration with only the members to start from its folder, and for each other
    node the reason why it is not started.

    A member belongs to the folder if the configuration names it, or its log is here. Before there
    is a log, only the configuration names the members.

    Raises:
        ConfigError: no member belongs to this folder, or the environment's TLS files can't be used.
    """
    folder = configuration.folder
    logs = _related(_logs(folder), configuration.members)
    spoken = [log for log in logs.values() if log[1].names]
    if not spoken:
        return configuration, []
    members = max(spoken, key=lambda log: log[0])[1]
    here: dict[str, Address] = {}
    others = [
        f"{name} (not a member in the newest log)"
        for name in dict.fromkeys((*configuration.members, *sorted(logs)))
        if name not in members.names
    ]
    for name in members.names:
        if name in configuration.members:  # its address outranks an address in a log
            here[name] = configuration.members[name]
        elif name not in logs:
            others.append(f"{name} (there is no {folder / name}.log)")
        elif _runs(name, address := Address.parse(members.addresses[name])):
            others.append(f"{name} (already runs on {address})")
        else:
            here[name] = address
    if not here:
        raise ConfigError(f"{folder}: nothing to start here; not started: {', '.join(others)}")
    return replace(configuration, members=here), others


def _runs(name: str, address: Address) -> bool:
    """Return whether the node is up: it may have been started in another terminal, to join."""
    return status.ask(name, address, ClientAccess.of_environment(), ASK_S).answer is not None


def _logs(folder: Path) -> dict[str, _Known]:
    """Return the members in each log of the folder. Nodes report damaged logs themselves."""
    logs = {}
    for path in sorted(folder.glob("*.log")):
        if NAME.fullmatch(path.stem):
            with contextlib.suppress(StorageError):
                contents = LogReader(Folder(folder), path.name, Mark(0, 0)).read()
                log = contents.log
                latest = Configurations(log.base_index, contents.members, log.commands).latest
                logs[path.stem] = (log.last_term, log.last_index), latest
    return logs


def _related(logs: Mapping[str, _Known], names: Collection[str]) -> dict[str, _Known]:
    """Return the logs of this cluster. A log belongs to it if the configuration or another of its
    logs names the node, or if the log names a node of the cluster. A log without members waits to
    be added."""
    members_of_logs, related = (
        set(names),
        {name: log for name, log in logs.items() if not log[1].names},
    )
    while more := {
        name: log
        for name, log in logs.items()
        if name not in related and members_of_logs.intersection((name, *log[1].names))
    }:
        related |= more
        members_of_logs.update(*(members.names for _, members in more.values()))
    return related
