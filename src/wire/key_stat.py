r"""The facts of a key: the entry that last changed it, its lease, its user. Pure.

A snapshot's line of a key is `57 KEY VALUE`, or `57,lease-40 KEY VALUE` if the key is under a
lease. The name of the user who wrote the value follows, if one was logged in:
`57,lease-40,bob KEY VALUE`, or `57,,bob KEY VALUE` without a lease. In memory the same facts follow
the value in one string, which takes a few bytes per key and no extra object. A NUL separates them:
entries hold no raw control characters, so values don't either. The number 0 stands for an unknown
entry.

A text has one form, in which a space is a space. So a value that begins with `\s` is not a text of
a client: it has a type of an extension, and no command that computes with a text changes it.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ..common.text import NAME, NUMBER, NUMBER_MAX

MARK = "\0"
TYPED: Final = r"\s"  # begins a value with a type
_LEASE: Final = "[A-Za-z][A-Za-z0-9.-]{0,63}"
_LINE = re.compile(rf"(0|{NUMBER})(?:,(?=.)({_LEASE})?(?:,{NAME})?)?", re.ASCII)

# Lines of keys without a lease and a user, as nearly all are.
_plain_lines: Final = re.compile(
    r"^(0|[1-9][0-9]{0,17}) ([^ \n]+) ([^\n]*)$", re.ASCII | re.MULTILINE
).findall


class KeyFacts(NamedTuple):
    """The facts of one key. `changed` is the number of the entry that last changed it
    (`entry_number`)."""

    changed: int
    lease: str = ""  # the lease of the key, "" if it has none
    user: str = ""  # who wrote the value, "" if nobody was logged in


def with_facts(value: str, changed: int, lease: str = "", user: str = "") -> str:
    """Return the value with its facts, in the form used in memory."""
    if user:
        return f"{value}{MARK}{changed},{lease},{user}"
    return f"{value}{MARK}{changed},{lease}" if lease else f"{value}{MARK}{changed}"


def value_of(stored: str) -> str:
    """Return the value without its facts."""
    return stored.partition(MARK)[0]


def value_and_lease(stored: str) -> tuple[str, str]:
    """Return the value without its facts, and the lease of the key, "" if it has none."""
    value, _, facts = stored.partition(MARK)
    return value, facts.split(",", 2)[1] if "," in facts else ""


def facts_of(stored: str) -> KeyFacts:
    """Return the facts of a stored value."""
    changed, _, rest = stored.partition(MARK)[2].partition(",")
    lease, _, user = rest.partition(",")
    return KeyFacts(int(changed or 0), lease, user)


def lease_of(stored: str) -> str:
    """Return the lease of the key, "" if it has none."""
    return user_and_lease(stored)[1]


def user_and_lease(stored: str) -> tuple[str, str]:
    """Return the user who wrote the value, "" if nobody was logged in, and the key's lease."""
    begin = stored.rfind(MARK)
    comma = stored.find(",", begin) if begin >= 0 else -1
    if comma < 0:  # nearly always, without users
        return "", ""
    lease, _, user = stored[comma + 1 :].partition(",")
    return user, lease


def format_key_line(key: str, stored: str) -> str:
    """Return the line of a key in a snapshot, without its newline."""
    value, _, facts = stored.partition(MARK)
    return f"{facts or 0} {key} {value}"


def read_plain_lines(lines: str) -> list[tuple[str, str]]:
    """Return the keys of those lines that have neither lease nor user, each with its value and
    facts, in a third of the time of `read_key_line`."""
    return [(key, f"{value}{MARK}{changed}") for changed, key, value in _plain_lines(lines)]


def read_key_line(line: str) -> tuple[str, str, str]:
    """Return the key, its value with its facts, and its lease.

    Raises:
        ValueError: the first word of the line does not have the form of facts.
    """
    facts, _, rest = line.partition(" ")
    key, _, value = rest.partition(" ")
    match = _LINE.fullmatch(facts)
    if match is None or int(match[1]) > NUMBER_MAX:
        raise ValueError("a key's line that does not begin with the entry that changed it")
    return key, f"{value}{MARK}{facts}", match[2] or ""
