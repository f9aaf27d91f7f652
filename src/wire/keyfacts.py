"""The facts of a key, from level 2 on: the entry that changed it last, and its lease. Pure.

A snapshot's line of a key is `57 KEY VALUE`, or `57,lease-40 KEY VALUE` if it is under a lease.
In memory the same facts stand after the value in one text, which takes a few bytes a key and no
object more. A NUL divides them: no entry holds a raw control character, so no value does.
A text without facts is older than the cluster's rise to level 2.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..raft.spelling import NUMBER, NUMBER_MAX

MARK = "\0"
_LINE = re.compile(rf"({NUMBER})" r"(?:,([A-Za-z][A-Za-z0-9.-]{0,63}))?")


class KeyFacts(NamedTuple):
    """`changed` is the number of the entry that changed the key last (`entry_number`)."""

    changed: int
    lease: str = ""  # the lease of the key, "" if it has none


def with_facts(value: str, changed: int, lease: str = "") -> str:
    """Return the value with its facts, as it is held in memory."""
    return f"{value}{MARK}{changed},{lease}" if lease else f"{value}{MARK}{changed}"


def value_of(held: str) -> str:
    """Return the value alone."""
    return held.partition(MARK)[0]


def facts_of(held: str, since: int) -> KeyFacts:
    """Return the facts; `since` is the number of the entry that raised the level to 2."""
    _, mark, spelled = held.partition(MARK)
    if not mark:
        return KeyFacts(since)
    changed, _, lease = spelled.partition(",")
    return KeyFacts(int(changed), lease)


def lease_of(held: str) -> str:
    """Return the lease of the key, "" if it has none."""
    return held.partition(MARK)[2].partition(",")[2]


def spell_key_line(key: str, held: str, since: int) -> str:
    """Return the line of a key in a snapshot of level 2, without its newline."""
    value, mark, facts = held.partition(MARK)
    return f"{facts if mark else since} {key} {value}"


def read_key_line(line: str) -> tuple[str, str, str]:
    """Return the key, its value with its facts, and its lease.

    Raises:
        ValueError: the first word of the line is not the facts of a key.
    """
    facts, _, rest = line.partition(" ")
    key, _, value = rest.partition(" ")
    read = _LINE.fullmatch(facts)
    if read is None or int(read[1]) > NUMBER_MAX:
        raise ValueError("a key's line that does not begin with the entry that changed it")
    return key, f"{value}{MARK}{facts}", read[2] or ""
