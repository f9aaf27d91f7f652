"""The two messages of a snapshot that travels, and their spelling as a line.

    s1@InstallSnapshot 5-17-4 offset 0 of 66 crc32 1ff08c67 round 9 data "17 4 snapshot …"
    s2@GiveSnapshotAfterByte 66 of 17-4 term 5 round 9

The data is a piece of the snapshot's file, a JSON string of at most `CHUNK_BYTES` bytes; a byte
that is not UTF-8, because a character was cut in two, stands in it as `\\udcNN`. The last piece
has no answer of its own: a heartbeat that is answered `I am up to date` ends the transfer.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import NamedTuple

from raftline.raft.entries import NUMBER_MAX

CHUNK_BYTES = 256 << 10
INSTALL_FORM = (
    'InstallSnapshot TERM-LASTINDEX-LASTTERM offset O of SIZE crc32 X round R data "…"'
)
HELD_FORM = "GiveSnapshotAfterByte O of LASTINDEX-LASTTERM term T round R"
_N = r"([0-9]{1,19})"
# Behind a follower's answer: its incarnation, and whether it may be new (raft/recovering.py).
WITHOUT_VOTE = rf"(?: without vote {_N}( maybe new)?)?"
_INSTALL = re.compile(
    rf"InstallSnapshot {_N}-{_N}-{_N} offset {_N} of {_N} crc32 ([0-9a-f]{{8}}) round {_N}"
    r" data (?=\")"
)
_HELD = re.compile(
    rf"GiveSnapshotAfterByte {_N} of {_N}-{_N} term {_N} round {_N}"
    rf"{WITHOUT_VOTE}"
)


class Snapshot(NamedTuple):
    """A snapshot, told from any other: the state after entry `index` of `term` (paper §7).

    `size` is the bytes of its file, `crc` their CRC-32: two servers may spell one state in two
    ways, and a transfer must not mix them.
    """

    index: int  # type: ignore[assignment]  # tuple.index is not used
    term: int
    size: int
    crc: int


@dataclass(frozen=True, slots=True)
class InstallSnapshot:
    """Paper, Figure 13, InstallSnapshot. The core leaves `data` empty, so a leader's memory never
    holds a snapshot: whoever sends the message reads the `length` bytes from the file.

    `data` is the bytes as text, those that are not UTF-8 as lone surrogates (surrogateescape).
    """

    sender: str
    to: str
    term: int
    snapshot: Snapshot
    offset: int
    length: int
    round: int
    data: str = ""

    @property
    def raw(self) -> bytes:
        """The bytes of the file that it carries."""
        return self.data.encode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class InstallSnapshotReply:
    """The sender holds the first `offset` bytes of the snapshot of that index and term."""

    sender: str
    to: str
    term: int
    index: int
    index_term: int
    offset: int
    round: int
    without_vote: int = 0
    may_be_new: bool = False


def spell_install(message: InstallSnapshot) -> str:
    """Return the message as it stands behind `NAME@` on the wire."""
    index, term, size, crc = message.snapshot
    data = encode_basestring(message.data).encode("utf-8", "backslashreplace").decode()
    return (
        f"InstallSnapshot {message.term}-{index}-{term} offset {message.offset} of {size}"
        f" crc32 {crc:08x} round {message.round} data {data}"
    )


def spell_held(message: InstallSnapshotReply) -> str:
    """Return the answer as it stands behind `NAME@` on the wire."""
    return (
        f"GiveSnapshotAfterByte {message.offset} of {message.index}-{message.index_term}"
        f" term {message.term} round {message.round}"
        + spell_without_vote(message.without_vote, message.may_be_new)
    )


def spell_without_vote(incarnation: int, may_be_new: bool) -> str:
    """Return what ends the answer of a server without a vote; nothing where `incarnation` is 0."""
    return f" without vote {incarnation:d}" + " maybe new" * may_be_new if incarnation else ""


def read_install(sender: str, to: str, text: str) -> InstallSnapshot:
    """Return the message that a line spells.

    Raises:
        ValueError: malformed, or a piece that no snapshot of that size has.
    """
    head = _INSTALL.match(text)
    if head is None:
        raise ValueError(f"malformed InstallSnapshot. Its form is: {INSTALL_FORM}")
    term, index, last_term, offset, size, number = _numbers(head, 1, 2, 3, 4, 5, 7)
    if not 0 < last_term <= term or index == 0:
        raise ValueError(f"no log of term {term} has index {index} of term {last_term}")
    try:
        data = json.loads(text[head.end() :])
        length = len(data.encode("utf-8", "surrogateescape"))
    except ValueError as error:
        raise ValueError(f"the data of InstallSnapshot is no JSON string: {error}") from None
    if length > CHUNK_BYTES or offset + length > size:
        raise ValueError(f"{length} bytes from {offset} on are no piece of a snapshot of {size}")
    snapshot = Snapshot(index, last_term, size, int(head[6], 16))
    return InstallSnapshot(sender, to, term, snapshot, offset, length, number, data)


def read_held(sender: str, to: str, text: str) -> InstallSnapshotReply:
    """Return the answer that a line spells.

    Raises:
        ValueError: malformed.
    """
    found = _HELD.fullmatch(text)
    if found is None:
        raise ValueError(f"malformed GiveSnapshotAfterByte. Its form is: {HELD_FORM}")
    offset, index, index_term, term, number = _numbers(found, 1, 2, 3, 4, 5)
    without_vote = _numbers(found, 6)[0] if found[6] else 0
    may_be_new = found[7] is not None
    return InstallSnapshotReply(
        sender, to, term, index, index_term, offset, number, without_vote, may_be_new
    )


def _numbers(found: re.Match[str], *groups: int) -> tuple[int, ...]:
    numbers = tuple(int(found[group]) for group in groups)
    if max(numbers) > NUMBER_MAX:
        raise ValueError(f"{max(numbers)} is beyond 2^63-1")
    return numbers
