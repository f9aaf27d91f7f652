"""The configuration: members, their addresses, and the pace of the cluster.

`server-configuration.txt` holds one node per line, `NAME HOST PORT`; `NAME PORT` means localhost.
`#` begins a comment. The file is next to the nodes' own files, in `logs/`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .address import HOST, Address, canonical_host, port_in

FILE_NAME = "server-configuration.txt"
DEFAULT_FOLDER = "logs"
FILE_BYTES_MAX = 1 << 20

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")

HEADER = "# One node per line: NAME HOST PORT\n"
EXAMPLE = "s1 localhost 10000"


class ConfigError(Exception):
    """An unusable configuration. The message is one line for the user."""


class PortRefused(Exception):
    """A port on which this program can't listen. The message is one line for the user."""


@dataclass(frozen=True)
class Configuration:
    """The members in a configuration file, in its order."""

    path: Path
    members: Mapping[str, Address]
    added: str = ""  # the line that this start added; `withdraw` removes it
    unread: str = ""  # why the file could not be read, if the node does not need it

    @property
    def folder(self) -> Path:
        """The folder of the nodes' files, which contains the configuration."""
        return self.path.parent


@dataclass(frozen=True)
class Pace:
    """The times of a cluster. An election timeout is in [timeout, timeout + spread).

    A heartbeat must be many times faster than an election timeout (paper, §5.6).
    """

    name: str
    election_timeout_ms: int
    election_spread_ms: int
    heartbeat_ms: int


FAST = Pace("fast", election_timeout_ms=500, election_spread_ms=500, heartbeat_ms=100)
# The times of the course's program, slow enough for a class to watch an election.
HUMAN = Pace("human", election_timeout_ms=10_000, election_spread_ms=8_000, heartbeat_ms=3_000)
# For machines far apart, or so busy that a node may pause for a second.
CLASS = Pace("class", election_timeout_ms=2000, election_spread_ms=2000, heartbeat_ms=300)
PACES: Mapping[str, Pace] = {pace.name: pace for pace in (FAST, CLASS, HUMAN)}


def load(folder: str | Path | None = None, option: str = "--dir") -> Configuration:
    """Return the configuration in `folder`, or the nearest one at or above the current folder.
    Messages refer to the folder's option as `option`.

    Raises:
        ConfigError: the file is missing or unusable; the message explains what to do.
    """
    return read(locate(folder, option))


def locate(folder: str | Path | None = None, option: str = "--dir") -> Path:
    """Return the path of the configuration, which need not exist if `folder` is given."""
    if folder == "":
        raise ConfigError(f"{option}: names no folder; give one, or leave it out")
    if folder is not None:
        return Path(folder) / FILE_NAME
    try:
        here = Path.cwd()
    except FileNotFoundError:
        raise ConfigError("the current folder was deleted; change to an existing folder") from None
    for above in (here, *here.parents):
        for candidate in (above / DEFAULT_FOLDER / FILE_NAME, above / FILE_NAME):
            if os.path.isfile(candidate):  # also False without permission
                return candidate
    raise ConfigError(
        f"no {DEFAULT_FOLDER}/{FILE_NAME} here or in any folder above; "
        f"name its folder with {option}, or write one line per node into it: {EXAMPLE}"
    )


def read(path: Path) -> Configuration:
    """Return the configuration in `path`. Raises ConfigError, which names the wrong line."""
    return parse(path, text_of(path))


def parse(path: Path, text: str, named: str | None = None) -> Configuration:
    """Return the members in `text`, which comes from `path`, or has the name `named` in messages.

    Raises:
        ConfigError: the text is unusable.
    """
    members: dict[str, Address] = {}
    names: dict[tuple[str, int], str] = {}
    folded: dict[str, str] = {}  # the names by their small letters
    for number, line in enumerate(text.split("\n"), start=1):
        fields = line.partition("#")[0].split()
        if not fields:
            continue
        where = named or f"{path}:{number}"
        name, address = _member(fields, where)
        if name in members:
            raise ConfigError(f"{where}: {name} appears twice; every node needs its own name")
        if (other := folded.setdefault(name.lower(), name)) != name:
            why = f"{name} and {other} differ by case only, so on some disks they share their files"
            raise ConfigError(f"{where}: {why}; choose another name")
        other = names.setdefault((canonical_host(address.host), address.port), name)
        if other != name:
            raise ConfigError(f"{where}: {name} and {other} share {address}; give each its own")
        members[name] = address
    if not members:
        raise ConfigError(f"{named or path}: names no node; write one line per node: {EXAMPLE}")
    return Configuration(path, members)


def _member(fields: list[str], where: str) -> tuple[str, Address]:
    if len(fields) not in (2, 3):
        raise ConfigError(f"{where}: {len(fields)} words, not NAME HOST PORT, as in: {EXAMPLE}")
    name, port = fields[0], fields[-1]
    host = fields[1] if len(fields) == 3 else "localhost"
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"{where}: {_shown(name)} is not a name: a letter, then letters, digits, '_', '.' or "
            "'-', 64 at most"
        )
    if not HOST.fullmatch(host):
        raise ConfigError(f"{where}: {_shown(host)} is not a host name or address")
    return name, Address(host, port_number(port, where))


def check_name(name: str) -> None:
    """Raise ConfigError if the name, which is a part of file names, is not valid for a node."""
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"{_shown(name)} is not the name of a node: a letter, then letters, digits, _ . or -, "
            "at most 64 in all"
        )


def as_option(setting: str) -> str:
    """Return the command-line option for a setting: `--tls-cert` for `tls_cert`."""
    return f"--{setting.replace('_', '-')}"


def complaint(problem: OSError, place: Path | None = None) -> str:
    """Return the message for an unusable file: `logs/s1.log: Permission denied`. The error of a
    write has no file name; `place` is used instead, if it is given."""
    name = place if problem.filename is None else problem.filename
    where = f"{name}: " if name is not None else ""
    return f"{where}{problem.strerror or problem}"


def port_number(text: str, where: str) -> int:
    """Return a port from 1 to 65535 in plain digits. Raises ConfigError, which names `where`."""
    try:
        return port_in(text)
    except ValueError:
        what = f"{_shown(text)} is not a port: a number from 1 to 65535"
        raise ConfigError(f"{where}: {what}") from None


def text_of(path: Path) -> str:
    """Return the file's text. Raises ConfigError if the file can't be read, or is not UTF-8."""
    try:
        with path.open("rb") as file:
            return decode(path, file.read(FILE_BYTES_MAX + 1))
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path}: is missing; write one line per node into it: {EXAMPLE}"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from error


def decode(path: Path, raw: bytes) -> str:
    """Decode the bytes of the file `path`. Raises ConfigError."""
    if len(raw) > FILE_BYTES_MAX:
        raise ConfigError(
            f"{path}: is larger than {FILE_BYTES_MAX:,} bytes; it may be another program's file"
        )
    try:
        return raw.decode("utf-8-sig")  # an editor may have added a byte order mark
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: is not UTF-8 text") from error


def _shown(text: str) -> str:
    """Return `text` quoted, truncated and safe for a terminal."""
    return repr(text if len(text) <= 60 else text[:60] + "…")
