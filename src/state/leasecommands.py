"""The effect of the commands about leases, and of an expiry. Deterministic and total; no clock.

They act on a Store. At level 1 there is none, and they are no commands. docs/use/leases.md is the
view of the user.
"""

from __future__ import annotations

from raftline.state.leases import own_lease, own_seconds, read_expiry
from raftline.state.store import Pairs, Store
from raftline.wire.leaseoperands import lease_in, seconds_in


def seconds_of(store: Store, lease: str) -> int:
    """Return the time of a lease; 0 where it is not there (any more)."""
    if lease in store.leases.granted:
        return store.leases.granted[lease]
    return own_seconds(lease) if lease in store.leased else 0


def execute_lease(pairs: Pairs, operands: str) -> str | None:
    """`lease SECONDS`: grant a lease, named after this entry."""
    seconds = seconds_in(operands)
    if not isinstance(pairs, Store) or seconds is None:
        return None
    return f"LEASE response: {pairs.leases.grant(pairs.number, seconds)} for {seconds} s"


def execute_release(pairs: Pairs, lease: str) -> str | None:
    """`release LEASE`: end it, and delete its keys."""
    if not isinstance(pairs, Store) or lease_in(lease) is None:
        return None
    if lease not in pairs.leases.granted:
        return f"RELEASE response, no such lease: {lease}"
    keys = sorted(pairs.leased.get(lease, ()))  # in one order on every node
    for key in keys:
        del pairs[key]
    pairs.leases.end(lease)
    deleted = "1 key" if len(keys) == 1 else f"{len(keys)} keys"
    return f"RELEASE response: {lease} released, {deleted} deleted"


def execute_setex(pairs: Pairs, operands: str) -> str | None:
    """`setex KEY SECONDS VALUE`: set it, with a lease of its own."""
    key, _, rest = operands.partition(" ")
    spelled, space, value = rest.partition(" ")
    seconds = seconds_in(spelled)
    if not isinstance(pairs, Store) or not (key and space) or seconds is None:
        return None
    lease = own_lease(pairs.number, seconds)
    pairs.put_under(lease, key, value)
    pairs.leases.begin(lease)
    return f"SETEX response: {key} set to {value}"


def execute_expire(pairs: Pairs, operands: str) -> str | None:
    """`expire KEY SECONDS`: give it a lease of its own; what it was under it leaves."""
    key, _, spelled = operands.partition(" ")
    seconds = seconds_in(spelled)
    if not isinstance(pairs, Store) or not key or seconds is None:
        return None
    if key not in pairs:
        return f"EXPIRE response, no such key: {key}"
    lease = own_lease(pairs.number, seconds)
    pairs.bind(key, lease)
    pairs.leases.begin(lease)
    return f"EXPIRE response: {key} for {seconds} s"


def execute_persist(pairs: Pairs, key: str) -> str | None:
    """`persist KEY`: take it out of its lease."""
    if not isinstance(pairs, Store) or not key or " " in key:
        return None
    if key not in pairs:
        return f"PERSIST response, no such key: {key}"
    if not pairs.lease_of(key):
        return f"PERSIST response, no lease: {key}"
    pairs.bind(key, "")
    return f"PERSIST response: {key} stays"


def execute_expiry(store: Store, command: str, term: int) -> None:
    """End the leases that an expiry names, and delete their keys. It does nothing in a term that it
    does not name, and nothing to a lease that has ended: where a key's time was set anew, that was
    another one."""
    for lease in read_expiry(command, term):
        if seconds_of(store, lease):
            store.expire(lease)
            store.leases.end(lease)
