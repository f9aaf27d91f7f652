r"""The operands of the commands for locks and queues. Pure.

    hold PREFIX MODE [now] CLAIM VALUE
    unhold PREFIX CLAIM
    abandon PREFIX CLAIM
    enqueue PREFIX VALUE
    requeue PREFIX NUMBER
    dequeue PREFIX COUNT MAX [now | as CLAIM] CLAIM [NUMBER:TOKEN[:back | :CLAIM] ...]

PREFIX ends with a slash. CLAIM is a lease, or a lease and a number that the client chooses, as in
`lease-57/3`, so that one lease can have many claims. recipes-as-entries.md has the
keys that they set.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from raftline.common.text import NUMBER
from raftline.wire.limits import JOBS_MAX, SEATS_MAX
from raftline.wire.operands.lease_operands import LEASE
from raftline.wire.operands.operands import (
    ALL_KEYS,
    KEY_VALUE,
    PREFIX,
    Kind,
    Limits,
    Name,
    Operands,
    not_understood,
)
from raftline.wire.protocol import ProtocolError, shown

ALONE = "alone"
SHARED = "shared"
TOGETHER = "together"
SUFFIX_BYTES: Final = 128  # of a key after its PREFIX, at most
CLAIM: Final = rf"{LEASE}{NUMBER}(?:\.[0-9a-f]{{16}})?(?:/{NUMBER})?"
_SEATS: Final = rf"[1-9][0-9]{{0,2}}|{SEATS_MAX}"
MODE: Final = rf"{ALONE}|{SHARED}|(?:{TOGETHER}:)?(?:{_SEATS})"
COUNT: Final = "0|[1-9][0-9]{0,2}"
DELIVERIES: Final = "0|[1-9][0-9]{0,8}"
_HOLD: Final = re.compile(rf"({MODE}) (now )?({CLAIM}) (.*)", re.ASCII | re.DOTALL)
_CLAIM: Final = re.compile(CLAIM, re.ASCII)
_NUMBER: Final = re.compile(NUMBER, re.ASCII)
_NAMED: Final = rf" {NUMBER}:{NUMBER}(?::back|:{CLAIM})?"
_DEQUEUE: Final = re.compile(
    rf"({COUNT}) ({DELIVERIES}) (?:(now) |as ({CLAIM}) )?({CLAIM})((?:{_NAMED}){{0,{JOBS_MAX}}})",
    re.ASCII,
)
_CLAIM_FORM = f"CLAIM is a lease, or a lease and a number: {LEASE}57/3"
_NOTHING = "Nothing was done."


class Hold(NamedTuple):
    """The operands of a `hold`."""

    prefix: str
    mode: str  # `alone`, `shared`, the number of seats, or `together:` and a number of claims
    claim: str
    value: str
    is_now: bool = False  # it does not wait in line


class NamedJob(NamedTuple):
    """A job that a `dequeue` names: its worker gives it up, or takes it over."""

    number: str
    token: int  # the index of the entry that handed it over
    is_back: bool = False  # it is not done and waits again
    holder: str = ""  # the claim from which it is taken over


class Dequeue(NamedTuple):
    """The operands of a `dequeue`."""

    prefix: str
    jobs_max: int  # to take; 0 for none
    deliveries_max: int  # of a job, then it is dead; 0 for no limit
    claim: str
    named: list[NamedJob]
    is_now: bool = False  # it does not wait in line
    waits_as: str = ""  # the claim that waits in line instead


def lease_of(claim: str) -> str:
    """Return the lease of a claim."""
    return claim.partition("/")[0]


def is_claim(text: str) -> bool:
    """Return whether a text is a claim."""
    return _CLAIM.fullmatch(text) is not None


def is_prefix(text: str) -> bool:
    """Return whether a text can be the PREFIX of these commands."""
    return text.endswith("/") and " " not in text


def hold_in(operands: str) -> Hold | None:
    """Return the operands of a `hold` in canonical form; None if they are malformed."""
    prefix, _, rest = operands.partition(" ")
    match = _HOLD.fullmatch(rest)
    if match is None or not is_prefix(prefix):
        return None
    return Hold(prefix, match[1], match[3], match[4], match[2] is not None)


def dequeue_in(operands: str) -> Dequeue | None:
    """Return the operands of a `dequeue` in canonical form; None if they are malformed."""
    prefix, _, rest = operands.partition(" ")
    match = _DEQUEUE.fullmatch(rest)
    if match is None or not is_prefix(prefix) or int(match[1]) > JOBS_MAX:
        return None
    named = []
    for word in match[6].split():
        number, token, *what = word.split(":")
        is_back, holder = what == ["back"], "".join(each for each in what if each != "back")
        named.append(NamedJob(number, int(token), is_back, holder))
    is_now, waits_as = match[3] is not None, match[4] or ""
    return Dequeue(prefix, int(match[1]), int(match[2]), match[5], named, is_now, waits_as)


def _prefix(verb: str, text: str, limits: Limits) -> str:
    """Return the canonical form of a PREFIX, which leaves room for the rest of its keys."""
    shorter = limits._replace(key_bytes=limits.key_bytes - SUFFIX_BYTES)
    prefix = PREFIX.read(verb, text, shorter)[len(verb) + 1 :]
    if not prefix.endswith("/"):
        raise ProtocolError(f'"{shown(prefix)}" does not end with /. {_NOTHING}')
    return prefix


def _read_hold(verb: str, operands: str, limits: Limits) -> str:
    """Parse `hold PREFIX MODE [now] CLAIM VALUE`. The value is the rest of the line."""
    typed, _, rest = operands.partition(" ")
    match = _HOLD.fullmatch(rest)
    if match is None:
        raise ProtocolError(
            f"the form is: {verb} {HOLD.form}. MODE is {ALONE}, {SHARED}, a number of seats up to "
            f"{SEATS_MAX}, or {TOGETHER}: and such a number, and {_CLAIM_FORM}. {_NOTHING}"
        )
    prefix = _prefix(verb, typed, limits)
    value = KEY_VALUE.read(verb, f"a {match[4]}", limits)[len(verb) + 3 :]
    return f"{verb} {prefix} {match[1]} {match[2] or ''}{match[3]} {value}"


def _read_claim(verb: str, operands: str, limits: Limits) -> str:
    """Parse `unhold PREFIX CLAIM` or `abandon PREFIX CLAIM`."""
    typed, _, claim = operands.rstrip(" ").partition(" ")
    if not is_claim(claim):
        raise ProtocolError(f"the form is: {verb} {ONE_CLAIM.form}. {_CLAIM_FORM}. {_NOTHING}")
    return f"{verb} {_prefix(verb, typed, limits)} {claim}"


def _read_enqueue(verb: str, operands: str, limits: Limits) -> str:
    """Parse `enqueue PREFIX VALUE`. The value is the rest of the line."""
    typed, space, value = operands.partition(" ")
    if not typed or not space:
        raise ProtocolError(f"the form is: {verb} {ENQUEUE.form}. {_NOTHING}")
    prefix = _prefix(verb, typed, limits)
    return KEY_VALUE.read(verb, f"{prefix} {value}", limits)


def _read_requeue(verb: str, operands: str, limits: Limits) -> str:
    """Parse `requeue PREFIX NUMBER`."""
    typed, _, number = operands.rstrip(" ").partition(" ")
    if not _NUMBER.fullmatch(number):
        raise ProtocolError(f"the form is: {verb} {REQUEUE.form}. {_NOTHING}")
    return f"{verb} {_prefix(verb, typed, limits)} {number}"


def _read_dequeue(verb: str, operands: str, limits: Limits) -> str:
    """Parse the operands of a `dequeue`."""
    typed, _, rest = operands.rstrip(" ").partition(" ")
    match = _DEQUEUE.fullmatch(rest)
    if match is None or int(match[1]) > JOBS_MAX:
        raise ProtocolError(
            f"the form is: {verb} {DEQUEUE.form}. COUNT is at most {JOBS_MAX}, and so are the jobs "
            f"at the end; MAX is a number of deliveries, or 0; {_CLAIM_FORM}. {_NOTHING}"
        )
    return f"{verb} {_prefix(verb, typed, limits)} {rest}"


def _names_of_hold(command: str) -> list[Name]:
    asked = hold_in(command.partition(" ")[2])
    if asked is None:
        raise ProtocolError(not_understood(command))
    return [Name(Kind.PREFIX, asked.prefix), Name(Kind.CLAIM, asked.claim)]


def _names_of_dequeue(command: str) -> list[Name]:
    """Return the PREFIX, and each claim that may get a key. A claim from which a job is taken over
    loses one at PREFIX."""
    asked = dequeue_in(command.partition(" ")[2])
    if asked is None:
        raise ProtocolError(not_understood(command))
    claims = dict.fromkeys([asked.claim, asked.waits_as or asked.claim])
    return [Name(Kind.PREFIX, asked.prefix), *[Name(Kind.CLAIM, claim) for claim in claims]]


HOLD = Operands("PREFIX MODE [now] CLAIM VALUE", _read_hold, 3, names=_names_of_hold)
ONE_CLAIM = Operands("PREFIX CLAIM", _read_claim, ALL_KEYS, is_public=True)
ENQUEUE = Operands("PREFIX VALUE", _read_enqueue, 1)
REQUEUE = Operands("PREFIX NUMBER", _read_requeue, ALL_KEYS, is_public=True)
DEQUEUE = Operands(
    "PREFIX COUNT MAX [now | as CLAIM] CLAIM [NUMBER:TOKEN[:back | :CLAIM] ...]",
    _read_dequeue,
    ALL_KEYS,
    is_public=True,
    names=_names_of_dequeue,
)
