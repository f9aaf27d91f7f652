"""A node that joins a running cluster: how it starts without members, and asks to be added."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable
from pathlib import Path

from raftline.clients.connection import ClientError
from raftline.clients.conversation import Client
from raftline.common import config
from raftline.common.address import HOST, Address, split
from raftline.common.arguments import as_port
from raftline.common.config import ConfigError, Configuration
from raftline.net.reachability import EVERYWHERE
from raftline.raft.change import advice
from raftline.raft.node import RawNode
from raftline.raft.view import NodeView
from raftline.storage.disk import FilesRefused
from raftline.storage.folder import make_folder
from raftline.wire.membercommands import CHANGE_S

PAUSES_S = (0.5, 5.0)  # first and longest pause between two tries


def joining_address(text: str) -> Address:
    """Return what `--join HOST:PORT` names."""
    host, port = split(text)
    if not HOST.fullmatch(host):
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT of a node of the cluster")
    return Address(host, as_port(port))


def settle_configuration(
    folder: str | None, name: str, host: str, port: int, *, joins: Address | None
) -> Configuration:
    """Return the configuration that a node starts with.

    It names the node, unless the node joins a cluster or has joined one before: then its log
    says who the members are, and the file need not even be there.

    Raises:
        ConfigError: the node is in no configuration, or the file can't be used.
    """
    config.check_name(name)
    path = _path(folder, fallback=joins is not None)
    knows_itself = joins is not None or (path.parent / f"{name}.log").exists()
    if not knows_itself or path.exists():
        configuration = config.read(path)
    else:
        configuration = Configuration(path, {})
    if name not in configuration.members and not knows_itself:
        known = " ".join(configuration.members)
        raise ConfigError(
            f"{name} is not in {configuration.path} (it names: {known}); "
            f"add a line '{name} {host} {port}' there, or start with --register, or with "
            "--join HOST:PORT to join a cluster that runs already"
        )
    if joins is not None:
        _make_folder(path.parent)
    return configuration


def _path(folder: str | None, *, fallback: bool) -> Path:
    try:
        return config.locate(folder)
    except ConfigError:
        if not fallback or folder is not None:
            raise
        return Path(config.DEFAULT_FOLDER) / config.FILE_NAME


def _make_folder(folder: Path) -> None:
    try:
        make_folder(folder)
    except OSError as error:
        raise ConfigError(f"{folder}: can't be made: {error.strerror}") from error


def check_member(view: NodeView, configuration: Configuration) -> list[str]:
    """Return what to say about a node's place in the cluster, as its log has it.

    Raises:
        ConfigError: the log begins with a cluster that this node was not born in, nor ever added
            to.
        FilesRefused: it has lost entries, and nobody else is there who holds them.
    """
    name, configurations, members = view.name, view.configurations, view.membership
    if not members.names:
        return [f"[*] {name} knows no members yet: it waits until a leader adds it"]
    known = " ".join(members.names)
    is_known = configurations.has_known(name)
    if not is_known and view.log.base_index == 0 and configurations.at(0).names:
        raise ConfigError(
            f"{name} is no member of the cluster in its log ({known}): is this the "
            f"log of another node? Put its own {name}.log back, or start it elsewhere"
        )
    if view.recovering and set(members.names) == {name}:
        raise FilesRefused(
            f"{name} has lost files, or a part of them, and is the only member: there is nobody "
            f"to catch up from. Restore all its files from one backup; or go on with what is left: "
            f"raftline recover {name}; or remove {name}.log, {name}.storage and .{name}.born, and "
            f"begin anew and empty. If others were added since, move {name}.log away and start "
            "with --join HOST:PORT of one of them"
        )
    notes = []
    if not is_known:  # a snapshot, or entries, from before it was added, or long after it left
        notes.append(
            f"[!] {name} is no member as far as its log goes ({known}): it waits for a leader "
            "that knows better, or adds it"
        )
    elif name not in members.names:
        notes.append(
            f"[!] {name} was removed from the cluster by entry "
            f"{configurations.removed_by(name)} of its log. "
            "Stop it; to have it back, add it again"
        )
    if configuration.members and set(members.names) != set(configuration.members):
        notes.append(
            f"[!] the log says the members are {known}, {configuration.path} says "
            f"{' '.join(configuration.members)}: the log holds"
        )
    if name in members.voters and (warning := advice(len(members.voters))):
        notes.append(f"[!] {warning}")
    return notes


def advertised(name: str, host: str, port: int, configuration: Configuration) -> Address:
    """Return where the others are to reach this node: what the file says, else where it listens.

    Raises:
        ConfigError: it listens everywhere, which is nowhere in particular.
    """
    address = configuration.members.get(name, Address(host, port))
    if address.host in EVERYWHERE:
        raise ConfigError(
            f"--host {host} doesn't tell where others reach {name}; write it into "
            f"{configuration.path}: {name} HOST {port}"
        )
    return address


class Joiner:
    """Asks a cluster, in a thread of its own, to add this node; again until it has a vote or an
    answer that says why not. A node that is a member already asks nothing."""

    def __init__(
        self, name: str, mine: Address, there: Address, node: RawNode, say: Callable[[str], None]
    ) -> None:
        self._name = name
        self._mine = mine
        self._there = there
        self._node = node
        self._say = say
        self._pause = threading.Event()  # never set: the process just ends

    def start(self) -> None:
        if not self._node.view.is_member:
            threading.Thread(target=self._ask, name=f"{self._name} joins", daemon=True).start()

    def _ask(self) -> None:
        request = f"add {self._name} {self._mine.host} {self._mine.port}"
        self._say(f"[*] {self._name} asks {self._there} to be added to the cluster")
        pause_s, last = PAUSES_S[0], ""
        while True:
            try:
                # The search below is patient; that nobody is there at all is said at once.
                with Client(*self._there, self._name) as client:
                    client.ask("help")
                with Client(*self._there, self._name, CHANGE_S, follow=True) as client:
                    self._say(f"[*] {client.request(request)}")
                    return
            except ClientError as failure:
                said = str(failure)
            if self._name in self._node.view.membership.electors:
                return
            if said != last:
                self._say(f"[!] {self._name} is not added yet: {said}")
            last = said
            self._pause.wait(pause_s)
            pause_s = min(pause_s * 2, PAUSES_S[1])
