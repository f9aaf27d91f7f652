"""How a node enters a cluster: by a line in server-configuration.txt, or by asking to be added."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from ...common import config
from ...common.address import EVERYWHERE, HOST, Address, split
from ...common.arguments import as_port
from ...common.config import (
    FILE_BYTES_MAX,
    HEADER,
    ConfigError,
    Configuration,
    decode,
    parse,
    text_of,
)
from ...common.process.guarded_thread import begin_thread
from ...net.asking import NotAnswered, OwnTls, ask, ask_leader
from ...net.peers.build_exchange import Foreigners, format_build, read_build
from ...raft.identity import is_foreign
from ...raft.node import RawNode
from ...storage.disk import FilesRefused
from ...storage.folder import make_folder
from ...storage.log_lines import LINE_BYTES_MAX, looks_like_base
from ...wire.commands.member_commands import CHANGE_S

PAUSES_S = (0.5, 5.0)  # first and longest pause between two attempts
ASKER = "raftline"  # not the node's name: if it is a member's, lines need a proof
ATTEMPT_S = 5.0  # to ask for the identity of the cluster
IDENTITY_S = 1.0  # the same at the start, before the node accepts any message
NO_LOGIN = ("no-login", "not-allowed")  # codes of refusals that ask for a user
SEARCH_S = 10.0  # for one attempt to find a leader, which may then need CHANGE_S


def joining_address(text: str) -> Address:
    """Return the address in `--join HOST:PORT`."""
    host, port = split(text)
    if not HOST.fullmatch(host):
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT of a node of the cluster")
    return Address(host, as_port(port))


def reached_address(text: str) -> Address:
    """Return the address in `--advertise HOST:PORT`."""
    host, port = split(text)
    if not HOST.fullmatch(host):
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, where others reach this node")
    if host in EVERYWHERE:
        raise argparse.ArgumentTypeError(
            f"{host} is an address to listen on, not one to connect to"
        )
    return Address(host, as_port(port))


def settle_configuration(
    folder: str | None, name: str, host: str, port: int, *, joins: Address | None
) -> Configuration:
    """Return the configuration that a node starts with.

    It names the node, unless the node joins a cluster or has joined one before: then its log has
    the members. In that case, the file may be missing, or belong to another user.

    Raises:
        ConfigError: the node is in no configuration, or the file can't be used.
    """
    config.check_name(name)
    path = _path(folder, fallback=joins is not None)
    log = path.parent / f"{name}.log"
    knows_itself = joins is not None or log.exists()
    configuration = Configuration(path, {})
    if not knows_itself or path.exists():
        try:
            configuration = config.read(path)
        except ConfigError as error:
            if not (isinstance(error.__cause__, OSError) and _has_begun(log)):
                raise
            configuration = replace(configuration, unread=str(error))
    if name not in configuration.members and not knows_itself:
        names = " ".join(configuration.members)
        raise ConfigError(
            f"{name} is not in {configuration.path} (it names: {names}); "
            f"add a line '{name} {host} {port}' there, or start with --register, or with "
            "--join HOST:PORT to join a cluster that runs already"
        )
    if joins is not None:
        _make_folder(path.parent)
    return configuration


def _has_begun(log: Path) -> bool:
    """Whether a node wrote this log: one that was written by hand names no members."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        return looks_like_base(file.readline(LINE_BYTES_MAX))
    return False


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


def advertised(
    name: str, host: str, port: int, configuration: Configuration, given: Address | None = None
) -> Address:
    """Return the address at which the others reach this node: the address of `--advertise`, or the
    address in the file, or otherwise the address that it listens on.

    Raises:
        ConfigError: the node listens on every address, so its own address is not known.
    """
    if given is not None:
        return given
    address = configuration.members.get(name, Address(host, port))
    if address.host in EVERYWHERE:
        raise ConfigError(
            f"--host {host} doesn't tell where others reach {name}; add --advertise HOST:PORT, or "
            f"write it into {configuration.path}: {name} HOST {port}"
        )
    return address


def begin_to_join(
    name: str,
    mine: Address,
    there: Address,
    tls: OwnTls | None,
    node: RawNode,
    foreigners: Foreigners,
    say: Callable[[str], None],
) -> None:
    """Ask a cluster, in a thread, to add this node. Ask again until it has a vote, or an answer
    that explains why not. A node that is already a member does not ask; a learner prints a hint.

    First ask for the identity of the cluster. From then on, this node ignores every other cluster:
    a node of this name may have left another cluster, whose leader may still dial it.

    Raises:
        FilesRefused: the node is not a member, and its files belong to another cluster.
    """
    try:
        _learn_cluster(name, there, tls, node, foreigners, IDENTITY_S)
    except FilesRefused as refused:
        if not node.view.is_member:
            raise
        say(f"[!] {refused}")  # a member serves its own cluster, wherever --join points now
    except Exception:
        pass  # the thread tries again, and prints the failure
    if not node.view.is_member:
        request = f"add {name} {mine.host} {mine.port}"

        def ask_again() -> None:
            _ask_to_be_added(request, name, there, tls, node, foreigners, say)

        def give_up(error: Exception) -> None:
            say(f"[!] {name} no longer asks to be added: {type(error).__name__}: {error}")

        begin_thread(ask_again, f"{name} joins", give_up)
    elif name not in node.view.membership.electors:
        # A vote is not asked for: an operator may have taken it. A node that stopped halfway
        # through joining is a learner, too.
        say(f"[*] {name} is a learner, without a vote. To give it one: raftline promote {name}")


def _ask_to_be_added(
    request: str,
    name: str,
    there: Address,
    tls: OwnTls | None,
    node: RawNode,
    foreigners: Foreigners,
    say: Callable[[str], None],
) -> None:
    say(f"[*] {name} asks {there} to be added to the cluster")
    pause_s, last = PAUSES_S[0], ""
    while True:
        try:
            # The search below is patient. This fails at once if no node is there.
            _learn_cluster(name, there, tls, node, foreigners)
            say(f"[*] {ask_leader(there, f'{ASKER}@{request}', CHANGE_S, SEARCH_S, tls)}")
            return
        except Exception as failure:  # not only NotAnswered: perhaps no thread can be started
            kind = "" if isinstance(failure, NotAnswered) else f"{type(failure).__name__}: "
            line = f"[!] {name} is not added yet: {kind}{failure}"
            if isinstance(failure, FilesRefused):
                say(f"[!] {failure}")
                return
            if (
                getattr(failure, "code", "") in NO_LOGIN
            ):  # a node has no login, so an admin has to add it
                line = f"[!] {name} waits until an admin adds it: raftline member {request}"
        if name in node.view.membership.electors:
            return
        if line != last:
            say(line)
        last = line
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, PAUSES_S[1])


def _learn_cluster(
    name: str,
    there: Address,
    tls: OwnTls | None,
    node: RawNode,
    foreigners: Foreigners,
    timeout_s: float = ATTEMPT_S,
) -> None:
    """Ask the node at an address for the identity of its cluster, which needs no rights.

    Raises:
        FilesRefused: this node has files of another cluster.
        NotAnswered: no node is there.
    """
    build = read_build(ask(there, f"{ASKER}{format_build('')}", timeout_s, tls))
    if build is None or not build.cluster:
        return  # the cluster has none yet
    view = node.view
    # A member, or a node that was catching up, need not know the identity yet.
    is_nobodys = view.log.last_index > 0 and not (view.cluster or view.recovering or view.is_member)
    if is_foreign(view.cluster, build.cluster) or is_nobodys:
        raise FilesRefused(
            f"{name} can't join with the files that it has: they belong to another cluster than "
            f"{there}. Move {name}.* and .{name}.born away; it gets everything from the leader"
        )
    foreigners.joins = build.cluster


# --- server-configuration.txt, which several nodes may write at the same time -------------------


def register(path: Path, name: str, port: int, given: Address | None = None) -> Configuration:
    """Make `name` a member on localhost, or at the address `given`; create the file if necessary.

    Nothing changes if `name` is there with this port. Several nodes may register at the same time.

    Raises:
        ConfigError: `name` is there with another port, the port is taken, or the file can't be
            used or written.
    """
    address = given or Address("localhost", port)
    port, line = address.port, f"{name} {address.host} {address.port}"
    alone = f"{HEADER}{line}\n"
    try:
        make_folder(path.parent)
        if _made(path, alone):
            return replace(parse(path, alone), added=alone)
        with _locked(path) as file:
            before = decode(path, file.read(FILE_BYTES_MAX + 1))
            present = _member_line(path, before, name)
            if present is not None:
                if present.port != port:
                    raise ConfigError(
                        f"{path}: {name} is there with port {present.port}, not {port}"
                    )
                return parse(path, before)
            added = HEADER if not before else "" if before.endswith("\n") else "\n"
            added += line + "\n"
            after = parse(path, before + added)
            _fill(file, added)
            return replace(after, added=added)
    except OSError as error:
        raise ConfigError(
            f"{path}: can't be written: {error.strerror}; add by hand: {line}"
        ) from error


def begun(path: Path, text: str) -> Configuration:
    """Return the configuration in the file at `path`; write `text` if it is missing or empty.

    Several nodes may do so at the same time. A file can be empty if the file system has no links:
    another node is about to write it, or died before it did.

    Raises:
        ConfigError: the file, or `text`, can't be used, or the file can't be written.
    """
    configuration = parse(path, text)
    if path.exists() and (there := text_of(path)):
        return parse(path, there)
    try:
        make_folder(path.parent)
        if _made(path, text):
            return configuration
        with _locked(path) as file:
            there = decode(path, file.read(FILE_BYTES_MAX + 1))
            if there:
                return parse(path, there)
            _fill(file, text)
            return configuration
    except OSError as error:
        raise ConfigError(f"{path}: can't be written: {error.strerror}") from error


def withdraw(configuration: Configuration) -> None:
    """Restore the file as it was before this start registered a node that then failed to start.

    Lines that others have registered since stay. So does this line if the file can't be changed.
    """
    path, added = configuration.path, configuration.added.encode("utf-8")
    with contextlib.suppress(OSError), _locked(path) as file:
        text = file.read()
        if text == added:
            path.unlink()
        elif text.endswith(added):
            file.truncate(len(text) - len(added))
        elif added in text:
            file.truncate(text.index(added))
            file.write(text[text.index(added) + len(added) :])


def _made(path: Path, text: str) -> bool:
    """Create a file atomically, so that no reader finds a part of it; return whether it was
    created. Another process may be faster, or the file system may have no links."""
    if path.exists():
        return False
    beside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        with beside.open("wb") as file:
            _fill(file, text)
        with contextlib.suppress(OSError):
            os.link(beside, path)
            return True
        return False
    finally:
        beside.unlink(missing_ok=True)


def _fill(file: BinaryIO, text: str) -> None:
    file.write(text.encode("utf-8"))
    file.flush()
    os.fsync(file.fileno())


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    """Yield the file, created if necessary: it is read from its beginning and written at its end.
    It is locked: otherwise two nodes might both read it and then both write."""
    while True:
        with path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if _is_at(path, file):
                file.seek(0)
                yield file
                return


def _is_at(path: Path, file: BinaryIO) -> bool:
    """Whether the open file is still the file at `path`: another node may have withdrawn it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _member_line(path: Path, text: str, name: str) -> Address | None:
    """Return the address of `name` in `text`; None if it names no member."""
    has_members = any(line.partition("#")[0].split() for line in text.split("\n"))
    return parse(path, text).members.get(name) if has_members else None
