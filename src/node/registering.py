"""server-configuration.txt as it is begun, added to and put back, by several nodes at once."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from raftline.common.address import Address
from raftline.common.config import (
    FILE_BYTES_MAX,
    HEADER,
    ConfigError,
    Configuration,
    decode,
    parse,
    text_of,
)
from raftline.storage.folder import make_folder


def register(path: Path, name: str, port: int) -> Configuration:
    """Make `name` a member on localhost, creating the file if it is absent.

    Nothing changes if `name` is there with this port. Several nodes may register at once.

    Raises:
        ConfigError: `name` is there with another port, the port is taken, or the file can't be
            used or written.
    """
    line = f"{name} localhost {port}"
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
    """Return what the file at `path` says; where it says nothing yet, `text` is written there.

    Several nodes may do so at once. Who finds a file of no bytes finds it as another is about to
    write it, where there are no links, or as one left it that died before it did.

    Raises:
        ConfigError: the file, or `text`, can't be used, or the file can't be written.
    """
    wanted = parse(path, text)
    if path.exists() and (there := text_of(path)):
        return parse(path, there)
    try:
        make_folder(path.parent)
        if _made(path, text):
            return wanted
        with _locked(path) as file:
            there = decode(path, file.read(FILE_BYTES_MAX + 1))
            if there:
                return parse(path, there)
            _fill(file, text)
            return wanted
    except OSError as error:
        raise ConfigError(f"{path}: can't be written: {error.strerror}") from error


def withdraw(configuration: Configuration) -> None:
    """Make the file what it was before this start registered a node that did not come up.

    What others have registered since stays. Where it can't be done the line stays, too.
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
    """Make a file that is not there yet, so that nobody ever finds a part of it; return whether
    that was done. Another may be quicker, and a file system have no links."""
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
    """Yield the file, which is made where it is absent: read from its beginning, written at its
    end, and by nobody else meanwhile, or two nodes read and then both write."""
    while True:
        with path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if _is_at(path, file):
                file.seek(0)
                yield file
                return


def _is_at(path: Path, file: BinaryIO) -> bool:
    """Whether the file that is open still is the one at `path`: it may have been withdrawn."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _member_line(path: Path, text: str, name: str) -> Address | None:
    """Return where `text` says `name` is, if it holds any member at all."""
    has_members = any(line.partition("#")[0].split() for line in text.split("\n"))
    return parse(path, text).members.get(name) if has_members else None
