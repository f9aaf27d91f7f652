"""The lines of NAME.state_machine, the snapshot, written and read back (paper §7).

    17 4 snapshot cluster 9f86d081884c7d65 level 1 s1=localhost:10000 s2=localhost:10001
    sessions 1
    client7 …
    leases 1
    lease-7 10
    users 1
    user root SCRAM-SHA-256$…
    removals 1
    203 16
    needs 1
    redis=834b87ef91ec
    keys 2
    12 a 4
    9,lease-7 b 30
    # end: 1 session, 1 lease, 2 keys, crc32 1ff08c67

The first line names the last entry that the snapshot covers, by index and term, and the members at
that entry. Above the floor, the identity of the cluster comes before the members. The
chain of the entries that it covers comes right before the members, as `sum 1ff08c67` (sums.py).
Session lines come from the session table. A key's line begins with its facts
(wire/key_stat.py). Keys and values are escaped as on the wire. A checksum follows every thousandth
session, lease or key line: `# 1000 lines, crc32 5c1a2b3d`. A CRC-32 covers all bytes of the file
before its checksum, so that no part can be missing, moved or doubled. The counts come first, so
that no key can be taken for a checksum. The line of a key, a lease or a session may name its user.
Three sections are there only if they have lines: users and roles (state/user_table.py), the last
entry that removed a key, for each group of keys (state/store.py), and what later entries may need
(raft/identity.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, starmap
from typing import BinaryIO
from zlib import crc32

from ..common.process.wakeup import PauseFunction
from ..common.text import NUMBER, NUMBER_MAX
from ..raft.identity import PARTS
from ..raft.log import Snapshot
from ..raft.membership import Membership
from ..wire.key_stat import format_key_line, read_key_line, read_plain_lines
from .log_lines import (
    LINE_BYTES_MAX,
    format_identity,
    format_members,
    read_members,
    split_identity,
)
from .sums import format_sum, split_sum

CHECKSUM_LINES = 1000
STEP_LINES = 250  # written or read at a time, in less than a millisecond
_OPTIONAL = ("user", "removal", "need")  # sections that are there only if they have lines
STEP_BYTES = 1 << 18  # about this much is in memory at a time
_REMOVAL = re.compile(rf"([0-9]{{1,3}}) ({NUMBER})", re.ASCII)
HEAD = re.compile(rf"({NUMBER}) ({NUMBER}) snapshot ([^\n]+)\n".encode())


@dataclass
class MachineState:
    """The state machine after entry `index` of `term`, frozen until it is released. The pairs hold
    each value with its facts."""

    index: int
    term: int
    members: Membership
    sessions: Collection[str]
    pairs: Mapping[str, str]
    release: Callable[[PauseFunction], None] = lambda pause: None
    leases: Collection[str] = ()
    cluster: str = ""  # the identity
    users: Collection[str] = ()  # with roles
    chain: int = 0  # of the applied entries
    removals: Mapping[int, int] = field(default_factory=dict)  # by group of keys, the last entry
    needs: str = ""  # of later entries


@dataclass
class LoadedSnapshot:
    """A snapshot that passed its checks. The pairs hold each value with its facts."""

    snapshot: Snapshot
    members: Membership
    sessions: list[str] = field(default_factory=list)
    pairs: dict[str, str] = field(default_factory=dict)
    cluster: str = ""
    leases: list[str] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    leased: dict[str, set[str]] = field(default_factory=dict)  # the keys of each lease
    chain: int = 0
    removals: dict[int, int] = field(default_factory=dict)
    needs: str = ""
    # Of the keys in plain ASCII, with no lease and no user, the characters with their texts; and
    # the other keys. For a snapshot that was not read from a file, all keys may be others.
    plain_characters: int = 0
    others: list[str] = field(default_factory=list)


def format_snapshot(state: MachineState) -> Iterator[bytes]:
    """Yield the file in pieces of a few hundred lines."""
    for data, _ in checked_pieces(state):
        yield data


def checked_pieces(state: MachineState) -> Iterator[tuple[bytes, int]]:
    """Yield the same pieces, each with the CRC-32 of all bytes of the file up to its end."""
    head = f"{format_identity(state.cluster)}{format_sum(state.chain)}"
    lines = [f"{state.index} {state.term} snapshot {head}{format_members(state.members)}\n"]
    crc = size = body = 0
    sections = _sections(state)
    for word, count, section in sections:
        lines.append(f"{word}s {count}\n")
        for line in section:
            lines.append(line)
            size += len(line)
            body += 1
            if len(lines) >= STEP_LINES or size > STEP_BYTES or body % CHECKSUM_LINES == 0:
                data = "".join(lines).encode()
                crc = crc32(data, crc)
                yield data, crc
                lines, size = [], 0
                if body % CHECKSUM_LINES == 0:
                    lines.append(_checksum(body, crc))
    data = "".join(lines).encode()
    crc = crc32(data, crc)
    yield data, crc
    data = _end([(word, count) for word, count, _ in sections], crc).encode("ascii")
    yield data, crc32(data, crc)


def lines_of(state: MachineState) -> Iterator[str]:
    """Yield the lines of a state for its sum: those of its snapshot, without the checksums and the
    first line, except for the identity. The members are left out: before their first entry in the
    log, a node that joins knows none."""
    yield format_identity(state.cluster)
    for word, _, section in _sections(state):
        for line in section:
            yield f"{word} {line}"


def _sections(state: MachineState) -> list[tuple[str, int, Iterable[str]]]:
    """Return each section: the word for its lines, their number, and the lines, which are made one
    by one as they are written."""
    removals = [f"{group} {number}" for group, number in sorted(state.removals.items())]
    optional = zip(_OPTIONAL, (state.users, removals, state.needs.split()), strict=True)
    return [
        ("session", len(state.sessions), _lines(state.sessions)),
        ("lease", len(state.leases), _lines(state.leases)),
        *[(word, len(lines), _lines(lines)) for word, lines in optional if lines],
        ("key", len(state.pairs), _lines(starmap(format_key_line, state.pairs.items()))),
    ]


def _lines(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        yield f"{text}\n"


def _checksum(lines: int, crc: int) -> str:
    return f"# {lines} lines, crc32 {crc:08x}\n"


def _end(counts: list[tuple[str, int]], crc: int) -> str:
    counted = ", ".join(f"{count} {word}{'s' * (count != 1)}" for word, count in counts)
    return f"# end: {counted}, crc32 {crc:08x}\n"


class SnapshotReader:
    """Reads one file. `line` is the number of the last line read."""

    def __init__(self, file: BinaryIO, pause: PauseFunction) -> None:
        self._file = file
        self._lines = iter(partial(file.readline, LINE_BYTES_MAX), b"")
        self._pause = pause
        self._line = 0
        self._body = 0  # session and key lines read
        self._size = 0
        self._crc = 0
        self._step = 1  # lines read at a time, of about STEP_BYTES in all

    def read(self) -> LoadedSnapshot:
        """Return the content of the file, once all of it has passed its checks."""
        loaded, counts, begin = self._read_head(), list[tuple[str, int]](), self._take(1)
        found = dict[str, list[str]]()
        for word in ("session", "lease", *_OPTIONAL):
            if word not in _OPTIONAL or begin.startswith(f"{word}s ".encode()):
                found[word] = [line for lines in self._section(word, begin) for line in lines]
                counts.append((word, len(found[word])))
                if word == "removal":
                    loaded.removals = dict(map(self._removal, found[word]))
                if word == "need" and not re.fullmatch(PARTS, " ".join(found[word]), re.ASCII):
                    raise self._damage("not `PART=DIGEST`, just above")
                begin = self._take(1)
        loaded.sessions, loaded.leases = found["session"], found["lease"]
        loaded.users, loaded.needs = found.get("user", []), " ".join(found.get("need", ()))
        keys = 0
        for lines in self._section("key", begin):
            keys += len(lines)
            self._keep(loaded, lines)
        expected = _end([*counts, ("key", keys)], self._crc)
        if self._take(1) != expected.encode("ascii"):
            raise self._damage("the closing line does not match the lines above it")
        if len(loaded.pairs) != keys:
            twice = keys - len(loaded.pairs)
            raise self._damage(f"{keys} keys, {twice} of them twice")
        if self._file.read(1):
            raise self._damage("something follows the closing line")
        index, term = loaded.snapshot[:2]
        loaded.snapshot = Snapshot(index, term, self._size, self._crc)
        return loaded

    def _read_head(self) -> LoadedSnapshot:
        head = HEAD.fullmatch(self._take(1))
        if head is None:
            raise self._damage(
                "not `INDEX TERM snapshot MEMBERS`; a newer version may have written it"
            )
        index, term = int(head[1]), int(head[2])
        if max(index, term) > NUMBER_MAX:
            raise self._damage(f"a number beyond {NUMBER_MAX}")
        cluster, rest = split_identity(head[3])
        chain, text = split_sum(rest)
        try:
            members = read_members(text)
        except ValueError as error:
            raise self._damage(str(error)) from None
        snapshot = Snapshot(index, term, 0, 0)
        return LoadedSnapshot(snapshot, members, cluster=cluster, chain=chain)

    def _removal(self, line: str) -> tuple[int, int]:
        match = _REMOVAL.fullmatch(line)
        if match is None:
            raise self._damage("not `GROUP INDEX`, there or just above")
        return int(match[1]), int(match[2])

    def _keep(self, loaded: LoadedSnapshot, lines: list[str]) -> None:
        """Store the keys of these lines."""
        pairs, joined = loaded.pairs, "\n".join(lines)
        if joined.isascii() and len(plain := read_plain_lines(joined)) == len(lines):
            pairs.update(plain)
            # Each line has the characters of its key and text, and one more, like its newline.
            loaded.plain_characters += len(joined) + 1 - 2 * len(lines)
            return
        for line in lines:
            try:
                key, held, lease = read_key_line(line)
            except ValueError as error:
                raise self._damage(f"{error}, there or just above") from None
            pairs[key] = held
            loaded.others.append(key)
            if lease:
                loaded.leased.setdefault(lease, set()).add(key)

    def _section(self, word: str, begin: bytes) -> Iterator[list[str]]:
        """Yield the lines of a section, piece by piece, without the checksums. `begin` is its first
        line, such as `sessions N`."""
        name, _, count = begin.rstrip(b"\n").partition(b" ")
        is_named = name == f"{word}s".encode() and begin.endswith(b"\n")
        if not is_named or not count.isdigit() or len(count) > 18:
            raise self._damage(f"not `{word}s COUNT`")
        left = int(count)
        while left:
            taken = min(left, self._step, CHECKSUM_LINES - self._body % CHECKSUM_LINES)
            data = self._take(taken)
            fitting = STEP_BYTES * taken // len(data)
            self._step = max(1, min(STEP_LINES, 2 * self._step, fitting))
            try:
                yield data.decode().split("\n")[:-1]
            except UnicodeDecodeError:
                raise self._damage("bytes that are not UTF-8, there or just above") from None
            left -= taken
            self._body += taken
            self._pause()
            if self._body % CHECKSUM_LINES == 0:
                checksum = _checksum(self._body, self._crc).encode("ascii")
                if self._take(1) != checksum:
                    raise self._damage("a checksum that does not match the lines above it")

    def _take(self, count: int) -> bytes:
        """Return the next lines as one piece."""
        lines: list[bytes] = []
        for line in islice(self._lines, count):
            lines.append(line)
            if not line.endswith(b"\n"):
                break  # the file ends, or has a hole
        self._line += len(lines)
        if lines and len(lines[-1]) >= LINE_BYTES_MAX and not lines[-1].endswith(b"\n"):
            raise self._damage(f"no line end within {LINE_BYTES_MAX:,} bytes: a hole in the file")
        data = b"".join(lines)
        if len(lines) < count or not data.endswith(b"\n"):
            raise self._damage("the file ends too early")
        self._size += len(data)
        self._crc = crc32(data, self._crc)
        return data

    def _damage(self, what: str) -> ValueError:
        return ValueError(f"line {self._line}: {what}")
