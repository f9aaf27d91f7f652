"""The effect of lease commands and of an expiry. Deterministic and total; no clock.

docs/use/leases.md describes leases for users.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from ...wire.done_reply import NO_LEASE, NO_SUCH_KEY, NO_SUCH_LEASE, is_done, with_word
from ...wire.operands.lease_operands import (
    UNDER,
    format_seconds,
    grant_in,
    lease_in,
    ms_in,
)
from ..key_events import DELETE, EXPIRE
from ..lease_table import EXPIRED, own_lease, own_ms, read_expiry
from ..store import Store
from .key_commands import applies, execute, set_to


class LeaseEnding(NamedTuple):
    """A further effect of the end of leases, besides the end of their keys."""

    begin: Callable[[Store, Sequence[str]], Callable[[], None]]
    """Called with leases before their keys are deleted; returns what is to be done afterwards."""
    measure: Callable[[Store, Sequence[str]], int]
    """Returns how many more keys change as these keys are deleted."""


ENDINGS: Final[list[LeaseEnding]] = []


def end_leases(store: Store, leases: Sequence[str], kind: str) -> int:
    """End leases and delete their keys, each with an event of this kind; return the number of
    keys."""
    count, rest = 0, [ending.begin(store, leases) for ending in ENDINGS]
    for lease in leases:
        count += len(store.expire(lease, kind))
        store.leases.end(lease)
    for complete in rest:
        complete()
    return count


def ms_of(store: Store, lease: str) -> int:
    """Return the time of a lease in milliseconds, or 0 if there is no such lease."""
    if lease in store.leases.granted:
        return store.leases.granted[lease]
    return own_ms(lease) if lease in store.leased else 0


@applies("under")
def _under(store: Store, operands: str) -> str | None:
    """Execute `under LEASE COMMAND`. If the command succeeds, put its key under the lease."""
    lease, _, command = operands.partition(" ")
    verb, _, rest = command.partition(" ")
    if verb not in UNDER:
        return None
    if lease not in store.leases.granted:
        is_name = _names_one(store, lease)
        return with_word(verb.upper(), NO_SUCH_LEASE, lease) if is_name else None
    if verb == "set":
        key, space, value = rest.partition(" ")
        if key and space:
            store.put_under(lease, key, value)
            return set_to(key, value)
    reply = execute(store, command)
    if is_done(reply):
        store.bind(rest.partition(" ")[0], lease)
    return reply


def _names_one(store: Store, lease: str) -> bool:
    """Return whether a lease can have this name."""
    return lease_in(lease) is not None


@applies("lease")
def _lease(store: Store, operands: str) -> str | None:
    """Execute `lease SECONDS [TAG]`: grant a lease, named after this entry and its tag."""
    grant = grant_in(operands)
    if grant is None:
        return None
    ms, tag = grant
    if ms_in(format_seconds(ms)) is None:
        return None
    lease = store.leases.grant(store.number, ms, tag, store.user)
    return f"LEASE response: {lease} for {format_seconds(ms)} s"


@applies("release")
def _release(store: Store, lease: str) -> str | None:
    """Execute `release LEASE`: end the lease and delete its keys."""
    if not _names_one(store, lease):
        return None
    if lease not in store.leases.granted:
        return with_word("RELEASE", NO_SUCH_LEASE, lease)
    count = end_leases(store, [lease], DELETE)
    return f"RELEASE response: {lease} released, {count} key{'s' * (count != 1)} deleted"


@applies("setex")
def _setex(store: Store, operands: str) -> str | None:
    """Execute `setex KEY SECONDS VALUE`: set the key under its own new lease."""
    key, _, rest = operands.partition(" ")
    time, space, value = rest.partition(" ")
    ms = ms_in(time)
    if not (key and space) or ms is None:
        return None
    lease = own_lease(store.number, ms)
    store.put_under(lease, key, value)
    store.leases.begin(lease)
    return f"SETEX response: {key} set to {value}"


@applies("expire")
def _expire(store: Store, operands: str) -> str | None:
    """Execute `expire KEY SECONDS`: put the key under its own new lease."""
    key, _, time = operands.partition(" ")
    ms = ms_in(time)
    if not key or ms is None:
        return None
    if key not in store:
        return with_word("EXPIRE", NO_SUCH_KEY, key)
    lease = own_lease(store.number, ms)
    store.bind(key, lease)
    store.leases.begin(lease)
    return f"EXPIRE response: {key} for {time} s"


@applies("persist")
def _persist(store: Store, key: str) -> str | None:
    """Execute `persist KEY`: take the key out of its lease."""
    if not key or " " in key:
        return None
    if key not in store:
        return with_word("PERSIST", NO_SUCH_KEY, key)
    if not store.lease_of(key):
        return with_word("PERSIST", NO_LEASE, key)
    store.bind(key, "")
    return f"PERSIST response: {key} stays"


@applies(EXPIRED)
def _expired(store: Store, operands: str) -> str | None:
    """End the leases that an expiry names, and delete their keys.

    An expiry does nothing if it names a term other than its entry's: the leader of that term has
    not measured the time. It does nothing to a lease that has ended. A key whose time was set again
    is under another lease.
    """
    if store.is_at_floor:
        return None
    named = dict.fromkeys(read_expiry(operands, store.term))
    due = [lease for lease in named if ms_of(store, lease)]
    end_leases(store, due, EXPIRE)
    return ""
