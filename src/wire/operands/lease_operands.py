"""The operands of lease commands: seconds, the name of a lease, a command under a lease.

A lease is named after the entry that granted it: `lease-57`. On a node with users its name also has
a random tag: `lease-57.9f86d081884c7d65`. The tag is in the entry (`lease 10 9f86d081884c7d65`), so
all nodes use the same name. docs/use/leases.md explains leases. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ...common.text import NUMBER
from ..protocol import ProtocolError, shown
from .operands import KEY, KEY_BY, KEY_OLD_NEW, KEY_VALUE, Limits, Operands

SECONDS_MAX = 1_000_000_000  # 31 years
LEASE = "lease-"
OWN = "own-"
TAG_BYTES = 8  # random bytes of a tag
_NUMBER = re.compile(NUMBER)
_TIME = re.compile(rf"({NUMBER}|0)(?:\.([0-9]{{0,2}}[1-9]))?", re.ASCII)
_TAG = re.compile(r"[0-9a-f]{16}", re.ASCII)
NO_LEASE = "none"  # in a condition
# The commands allowed under a lease, each of which gives one key a value.
UNDER: Mapping[str, Operands] = {
    "set": KEY_VALUE,
    "setnx": KEY_VALUE,
    "cas": KEY_OLD_NEW,
    "incr": KEY_BY,
    "append": KEY_VALUE,
}
_NOTHING = "Nothing was done."


def ms_in(text: str) -> int | None:
    """Return the milliseconds in a text of seconds, such as 10 or 1.5; None if it is malformed or
    out of bounds."""
    match = _TIME.fullmatch(text)
    if match is None or len(match[1]) > len(str(SECONDS_MAX)):
        return None
    ms = 1000 * int(match[1]) + int((match[2] or "").ljust(3, "0"))
    return ms if 0 < ms <= 1000 * SECONDS_MAX else None


def format_seconds(ms: int) -> str:
    """Return the text of a time in seconds; `ms_in` is the inverse."""
    fraction = f".{ms % 1000:03}".rstrip("0") if ms % 1000 else ""
    return f"{ms // 1000}{fraction}"


def own_in(text: str) -> int | None:
    """Return the number in the name of a key's own lease, `own-61-20`; None if it is malformed."""
    number, _, time = text.removeprefix(OWN).partition("-")
    is_own = text.startswith(OWN) and _NUMBER.fullmatch(number) and ms_in(time) is not None
    return int(number) if is_own else None


def lease_in(text: str) -> int | None:
    """Return the number in a lease's name; None if the text is malformed."""
    number, dot, tag = text.removeprefix(LEASE).partition(".")
    if not text.startswith(LEASE) or not _NUMBER.fullmatch(number):
        return None
    return None if dot and not _TAG.fullmatch(tag) else int(number)


def with_tag(command: str, tag: str) -> str:
    """Return the entry for a `lease SECONDS`, with the tag for the name of the lease."""
    return f"{command} {tag}"


def grant_in(operands: str) -> tuple[int, str] | None:
    """Return the milliseconds and the tag (or "") in the operands of a `lease` entry; None if they
    are malformed."""
    time, space, tag = operands.partition(" ")
    ms = ms_in(time)
    if ms is None or (space and not _TAG.fullmatch(tag)):
        return None
    return ms, tag


def without_tag(command: str) -> str:
    """Return the command of an entry without its tag, which differs in a retry."""
    if not command.startswith("lease "):
        return command
    untagged, _, tag = command.rpartition(" ")
    return untagged if _TAG.fullmatch(tag) and untagged != "lease" else command


def without_lease(command: str) -> str:
    """Return the command without a leading `under lease-57 `."""
    return command.split(" ", 2)[-1] if command.startswith("under ") else command


def _seconds(text: str) -> str:
    """Return the one form of a time: 1.50 becomes 1.5, and 2.0 becomes 2."""
    shortest = text.rstrip("0").rstrip(".") if "." in text else text
    if ms_in(shortest) is None:
        raise ProtocolError(
            f'"{shown(text)}" is not a lease time: seconds from 0.001 to {SECONDS_MAX}, with at '
            f"most three decimals. {_NOTHING}"
        )
    return shortest


def _lease(text: str) -> str:
    if lease_in(text) is None:
        raise ProtocolError(
            f'"{shown(text)}" is not a lease; use the name that `lease SECONDS` returns, as in '
            f"{LEASE}57. {_NOTHING}"
        )
    return text


def _one_word(verb: str, operands: str, form: str) -> str:
    word = operands.strip(" ")
    if not word or " " in word:
        raise ProtocolError(f"the form is: {verb} {form}. {_NOTHING}")
    return word


def _read_seconds(verb: str, operands: str, limits: Limits) -> str:
    """Parse `lease SECONDS`."""
    return f"{verb} {_seconds(_one_word(verb, operands, 'SECONDS'))}"


def _read_lease(verb: str, operands: str, limits: Limits) -> str:
    """Parse `VERB LEASE`."""
    return f"{verb} {_lease(_one_word(verb, operands, 'LEASE'))}"


def _read_under(verb: str, operands: str, limits: Limits) -> str:
    """Parse `under LEASE COMMAND`. A value is the rest of the line, as without the lease."""
    lease, _, command = operands.partition(" ")
    inner, _, rest = command.partition(" ")
    if not lease or not inner:
        raise ProtocolError(f"the form is: {verb} LEASE set KEY VALUE. {_NOTHING}")
    lease = _lease(lease)
    if inner not in UNDER:
        *most, last = UNDER
        raise ProtocolError(
            f'"{shown(inner)}" can\'t stand under a lease; {", ".join(most)} and {last} can. '
            f"{_NOTHING}"
        )
    return f"{verb} {lease} {UNDER[inner].read(inner, rest, limits)}"


def _read_setex(verb: str, operands: str, limits: Limits) -> str:
    """Parse `setex KEY SECONDS VALUE`."""
    key, _, rest = operands.partition(" ")
    seconds, space, value = rest.partition(" ")
    if not key or not space:
        raise ProtocolError(
            f"the form is: {verb} KEY SECONDS VALUE, with one space before each. {_NOTHING}"
        )
    seconds = _seconds(seconds)
    _, key, value = KEY_VALUE.read(verb, f"{key} {value}", limits).split(" ", 2)
    return f"{verb} {key} {seconds} {value}"


def _read_expire(verb: str, operands: str, limits: Limits) -> str:
    """Parse `expire KEY SECONDS`."""
    key, space, seconds = operands.rstrip(" ").partition(" ")
    if not key or not space:
        raise ProtocolError(f"the form is: {verb} KEY SECONDS. {_NOTHING}")
    return f"{KEY.read(verb, key, limits)} {_seconds(seconds)}"


SECONDS = Operands("SECONDS", _read_seconds)
LEASE_NAME = Operands("LEASE", _read_lease)
LEASE_COMMAND = Operands("LEASE set|setnx|cas|incr|append ...", _read_under)
KEY_SECONDS = Operands("KEY SECONDS", _read_expire, is_public=True)
KEY_SECONDS_VALUE = Operands("KEY SECONDS VALUE", _read_setex, 2)
