"""Which nodes are of a folder: those that the logs in it call members, and that it has files of."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from raftline.common.address import Address
from raftline.common.config import NAME, ConfigError, Configuration
from raftline.raft.membership import Configurations, Membership
from raftline.storage.errors import StorageError
from raftline.storage.folder import Folder
from raftline.storage.hardstate import Mark
from raftline.storage.logreader import LogReader
from raftline.tools import status

ASK_S = 1.0
_Known = tuple[tuple[int, int], Membership]  # term and index of a log's end; the members it names


def residents(configuration: Configuration) -> tuple[Configuration, list[str]]:
    """Return the configuration with the members to start from its folder, and of each other node
    why it is none of them.

    A member is of the folder where the configuration names it, or where its log is here. Before
    there is a log the configuration alone says who the members are.

    Raises:
        ConfigError: no member is of this folder.
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
        if name in configuration.members:  # it has the last word on where
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
    """Whether the node is up: whoever had it join may have started it in a terminal of its own."""
    return status.ask(name, address, ASK_S).answer is not None


def _logs(folder: Path) -> dict[str, _Known]:
    """Return what each log in the folder says. Of one that can't be read its node will complain."""
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
    """Return the logs of this cluster: of nodes that are named, by the configuration or by such a
    log, and those that name such a node. One that names nobody waits until it is added."""
    named, related = set(names), {name: log for name, log in logs.items() if not log[1].names}
    while more := {
        name: log
        for name, log in logs.items()
        if name not in related and named.intersection((name, *log[1].names))
    }:
        related |= more
        named.update(*(members.names for _, members in more.values()))
    return related
