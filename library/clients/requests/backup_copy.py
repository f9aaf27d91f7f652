"""A backup of a running cluster: the copy that the leader makes, fetched in pieces on one
connection."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from raftline.common.public import public

from ..connections.node_connection import Refused
from .conversation import Client

TRIES = 3  # the copy is lost if its leader dies
_N = "([0-9]{1,19})"
BEGUN = re.compile(rf"BACKUP response: {_N}-{_N} of {_N} bytes crc32 ([0-9a-f]{{8}})", re.ASCII)
_PIECE = re.compile(rf"BACKUP response: from {_N} ", re.ASCII)


@public("raftline.api")
@dataclass(frozen=True)
class Backup:
    """A backup: the state after the entry `index` of `term`, and its size in bytes."""

    index: int
    term: int
    bytes: int


class Fetching:
    """One try to fetch a backup."""

    def __init__(self, client: Client) -> None:
        """Ask the leader for the copy. Raises ClientError."""
        header = BEGUN.fullmatch(client.request("backup"))
        if header is None:
            raise Refused("this node can't make a backup; is its version older?")
        self._client = client
        self._crc = int(header[4], 16)
        self.backup = Backup(int(header[1]), int(header[2]), int(header[3]))
        self.fetched = 0  # bytes

    def pieces(self) -> Iterator[bytes]:
        """Yield the copy. Raises ClientError; Refused if it is not the announced one."""
        crc = 0
        while self.fetched < self.backup.bytes:
            text = self._client.request(f"backup from {self.fetched}")
            head = _PIECE.match(text)
            if head is None or int(head[1]) != self.fetched:
                raise Refused("the node sent a different piece than requested")
            data = _piece(text[head.end() :])
            if not data:
                break
            self.fetched += len(data)
            crc = crc32(data, crc)
            yield data
        if (self.fetched, crc) != (self.backup.bytes, self._crc):
            raise Refused("the received backup differs from the announced one")


def _piece(text: str) -> bytes:
    try:
        data = json.loads(text)
        if isinstance(data, str):
            return data.encode("utf-8", "surrogateescape")
    except (ValueError, RecursionError):
        pass
    raise Refused("the node sent a piece that is not one string of JSON")


def fetch(client: Client, write: Callable[[Fetching], object]) -> Backup:
    """Fetch a backup, and `write` its pieces. Start again if its leader dies. Raises ClientError,
    and the errors of `write`."""
    for tries_left in reversed(range(TRIES)):
        try:
            fetching = Fetching(client)
            write(fetching)
            return fetching.backup
        except Refused:
            if not tries_left:
                raise
    raise AssertionError("the last try returns or raises")


def fetch_file(client: Client, file: str | os.PathLike[str]) -> Backup:
    """Fetch a backup into a new file, and close the client.

    Raises:
        FileExistsError: the file exists. OSError: it can't be written.
        ClientError: the backup did not arrive; there is no file.
    """
    path = Path(file)
    with client:
        if path.exists():
            raise FileExistsError(f"{path} exists; name a new file for the backup")
        return fetch(client, lambda fetching: write_new(path, fetching.pieces()))


def write_new(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file that only its owner may read, whole or not at all. Raises OSError."""
    number, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with open(number, "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.link(name, path)  # unlike a rename, it replaces nothing
    finally:
        with contextlib.suppress(OSError):
            os.unlink(name)
