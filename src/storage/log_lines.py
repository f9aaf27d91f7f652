"""The lines of NAME.log, written and read back. Pure.

    0 0 base s1=localhost:10000 s2=localhost:10001 s3=localhost:10002
    1 1 noop
    2 1 set a 4
    3 1 client7#12@set b 30
    # 3 entries synced, crc32 1ff08c67

The base line comes first. It names the entry before the log's first (`17 4 base …` after a
compaction: the snapshot ends with entry 17 of term 4) and the members there. If some are learners,
or two configurations are joint, the members look as in an entry: `17 4 base
s1=localhost:10000,voter s4=…,learner`. Above the floor, the identity of the cluster comes before
the members: `17 4 base cluster 9f86d081884c7d65 level 1 s1=localhost:10000 …`. After a compaction,
the chain of the entries before the log's first comes right before the members: `sum 1ff08c67`
(sums.py).

Entries follow, as `index term command`. After each batch of entries, a checksum says that they were
synced. `# cut after 17`, within a batch, means that the following lines replace every entry after
17.

A checksum covers all bytes since the previous checksum. The base line belongs to the first
batch. Numbers are plain ASCII digits without leading zeros, at most 2^63-1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from ..common.text import NAME, NUMBER, NUMBER_MAX
from ..raft.identity import CLUSTER, FORMAT
from ..raft.log import Entry
from ..raft.membership import PREFIX, Membership, all_vote, is_dialled, read
from .disk import EARLIER, OF_AN_EARLIER_BUILD, BuildRefused
from .sums import format_sum, split_sum

LINE_BYTES_MAX = 1 << 28  # a longer "line" is a hole in the file, with no line ends

CHECKSUM = re.compile(rb"# ([0-9]{1,18}) entr(?:y|ies) synced, crc32 [0-9a-f]{8}\n")
CUT_PREFIX = b"# cut after "
_LINE: Final = "%d %d %s\n"  # of an entry: index, term, command
NOT_UTF_8 = "bytes that are not UTF-8"
BOM = b"\xef\xbb\xbf"
_NUMBER = b"0|" + NUMBER.encode()
_ENTRY = re.compile(rb"(%b) (%b) ([^\n]*)\n" % (_NUMBER, _NUMBER))
_CUT = re.compile(rb"# cut after (%b)\n" % _NUMBER)
_BASE = re.compile(rb"(%b) (%b) base(?: ([^\n]+))?\n" % (_NUMBER, _NUMBER))
_IDENTITY = re.compile(rf"cluster ({CLUSTER}) {FORMAT}(?: |\Z)".encode())
_MEMBER = re.compile(rf"({NAME})=([^\s=]+:[1-9][0-9]{{0,4}})")
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def entry_lines(entries: Sequence[Entry]) -> str:
    """Return the lines of these entries."""
    return "".join(map(_LINE.__mod__, entries))


def checksum_line(entries: int, crc: int) -> bytes:
    """Return the checksum that closes a batch of this many entries."""
    noun = "entry" if entries == 1 else "entries"
    return b"# %d %b synced, crc32 %08x\n" % (entries, noun.encode("ascii"), crc)


def cut_line(index: int) -> bytes:
    """Return the line that voids every entry after `index`."""
    return b"%b%d\n" % (CUT_PREFIX, index)


def base_line(
    members: Membership,
    index: int = 0,
    term: int = 0,
    cluster: str = "",
    chain: int = 0,
) -> bytes:
    """Return the first line of a log: Raft's entry before the first, or the last entry in the
    snapshot, with the identity, the chain and the members. A node that waits to be added
    has no members yet."""
    facts = f"{format_identity(cluster)}{format_sum(chain)}{format_members(members)}"
    text = f"{index} {term} base {facts}"
    return text.rstrip(" ").encode() + b"\n"


def format_identity(cluster: str) -> str:
    """Return the identity as it comes before the members, with a trailing space, or "" at the
    floor."""
    return f"cluster {cluster} {FORMAT} " if cluster else ""


def split_identity(text: bytes | None) -> tuple[str, bytes]:
    """Return the identity that comes before the members, "" at the floor, and the members' text.

    Raises:
        BuildRefused: a build from before the first release wrote the line.
    """
    text = text or b""
    match = _IDENTITY.match(text)
    if match is None:
        if EARLIER.match(text):
            raise BuildRefused(OF_AN_EARLIER_BUILD)
        return "", text
    return match[1].decode(), text[match.end() :]


def format_members(members: Membership) -> str:
    """Return the members' text for a base line or a snapshot. If all members vote, it has only
    names and addresses."""
    if members.learners or members.is_joint:
        return members.format().removeprefix(PREFIX)
    return " ".join(f"{name}={members.addresses[name]}" for name in members.voters)


def is_storable(command: str) -> bool:
    """Return whether a command fits on one line: no control character, no lone surrogate."""
    return command.isprintable() or _FORBIDDEN.search(command) is None


def looks_like_base(raw: bytes) -> bool:
    """Return whether a first line looks like a base line, perhaps a damaged one."""
    return re.match(rb"(?:\xef\xbb\xbf)?[0-9]+ [0-9]+ base(?:\s|$)", raw) is not None


def read_base(raw: bytes) -> tuple[int, int, Membership]:
    """Return the index and term of the entry before the log's first, and the members there.

    Raises:
        ValueError: the line is wrong; the message says how.
    """
    _check_ends(raw)
    match = _BASE.fullmatch(raw)
    if match is None:
        raise ValueError("this is not a base line; a newer version may have written it")
    index, term = int(match[1]), int(match[2])
    if (index == 0) != (term == 0) or max(index, term) > NUMBER_MAX:
        raise ValueError(f"the base line names an entry {index} of term {term}")
    return index, term, read_members(split_sum(split_identity(match[3])[1])[1])


def cluster_in_base(raw: bytes) -> str:
    """Return the identity that a sound base line names."""
    match = _BASE.fullmatch(raw)
    return split_identity(match[3])[0] if match is not None else ""


def chain_in_base(raw: bytes) -> int:
    """Return the chain that a sound base line names."""
    match = _BASE.fullmatch(raw)
    return split_sum(split_identity(match[3])[1])[0] if match is not None else 0


def read_members(formatted: bytes | None) -> Membership:
    """Return the members at the end of a base line, or of a snapshot's first line.

    Raises:
        ValueError: the text is wrong; the message says how.
    """
    try:
        text = (formatted or b"").decode()
    except UnicodeDecodeError:
        raise ValueError(NOT_UTF_8) from None
    if (found := read(PREFIX + text)) is not None:
        return found
    words = text.split(" ") if text else []
    members: dict[str, str] = {}
    for word in words:
        member = _MEMBER.fullmatch(word)
        if member is None or member[1] in members or not is_dialled(member[2]):
            raise ValueError(
                f"the base line names a member as {ascii(word)[:60]}, where NAME=HOST:PORT is "
                "expected, each name once; a newer version may have written it"
            )
        members[member[1]] = member[2]
    return all_vote(members)


def read_entry(raw: bytes, index: int, lowest_term: int) -> tuple[int, str]:
    """Return the term and command of the line that must hold entry `index`.

    Raises:
        ValueError: the line is wrong; the message says how.
    """
    _check_ends(raw)
    match = _ENTRY.fullmatch(raw)
    if match is None:
        raise ValueError("not `index term command` with plain numbers")
    actual, term = int(match[1]), int(match[2])
    if max(actual, term) > NUMBER_MAX:
        raise ValueError(f"a number beyond {NUMBER_MAX}")
    if actual != index:
        raise ValueError(f"entry {actual} where entry {index} should be")
    if term < max(lowest_term, 1):
        raise ValueError(f"term {term} below {max(lowest_term, 1)}; terms never fall in a log")
    try:
        command = match[3].decode()
    except UnicodeDecodeError:
        raise ValueError(NOT_UTF_8) from None
    if not is_storable(command):
        raise ValueError("a control character")
    return term, command


def read_cut(raw: bytes, base_index: int, last_index: int) -> int:
    """Return the index in a cut line, which voids the entries after it.

    Raises:
        ValueError: the line is wrong; the message says how.
    """
    _check_ends(raw)
    match = _CUT.fullmatch(raw)
    if match is None:
        raise ValueError("not `# cut after INDEX`")
    index = int(match[1])
    if not base_index <= index <= last_index:
        raise ValueError(f"a cut after {index}, but the log here spans {base_index}-{last_index}")
    return index


def is_cut(raw: bytes) -> bool:
    """Whether a line has the shape of a cut."""
    return _CUT.fullmatch(raw) is not None


def entry_index(raw: bytes) -> int:
    """Return the index in a line that has the shape of an entry, or else 0."""
    match = _ENTRY.fullmatch(raw)
    return int(match[1]) if match else 0


def _check_ends(raw: bytes) -> None:
    if raw.startswith(BOM):
        raise ValueError("a byte order mark: an editor has rewritten the file")
    if b"\0" in raw:
        raise ValueError("zero bytes")
    if raw.endswith(b"\r\n"):
        raise ValueError("a CRLF line end: an editor has rewritten the file")
    if not raw.endswith(b"\n"):
        raise ValueError("a line without its end")
