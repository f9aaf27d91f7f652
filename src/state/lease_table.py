"""The leases of the state machine and their durations. Pure.

The module has no clock. A lease ends by an entry: `release`, or the expiry that a leader proposes
after it has measured the time (node/loop/granted_leases.py). So every node ends a lease at the
same entry.

There are two kinds. A shared lease, `lease-57`, is granted by entry 57, and keys are put under it.
wire/commands/lease_operands.py defines the full form of its name. A key's own lease, `own-61-20`,
lasts 20 s and was set by entry 61 (`setex`, `expire`). It exists while a key is under it. If a
key's time is set again, an earlier expiry names a lease that no longer exists, and does nothing.
Keys of one transaction with the same time may share an own lease.

The Store holds the keys of each lease (store.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..wire.commands.lease_operands import LEASE, lease_in, seconds_in

OWN = "own-"
EXPIRED = "expired"  # the first word of an expiry; it has no row, so no client can type it


class Leases:
    """The shared leases by name, in the order of their entries, and the newly started leases."""

    def __init__(self) -> None:
        self.granted: dict[str, int] = {}  # seconds
        # Leases whose time begins now, for a leader that measures it; None on other nodes.
        self.started: list[str] | None = None

    def grant(self, number: int, seconds: int, tag: str = "") -> str:
        """Grant a shared lease by the entry with this number, and return its name."""
        name = f"{LEASE}{number}.{tag}" if tag else f"{LEASE}{number}"
        self.granted[name] = seconds
        self.begin(name)
        return name

    def begin(self, lease: str) -> None:
        """Start the time of a lease."""
        if self.started is not None:
            self.started.append(lease)

    def end(self, lease: str) -> None:
        """Remove a shared lease."""
        self.granted.pop(lease, None)

    def copy(self) -> list[tuple[str, int]]:
        """Return a copy of the shared leases, for a snapshot."""
        return list(self.granted.items())


def own_lease(number: int, seconds: int) -> str:
    """Return the name of a key's own lease, which holds its entry and its time."""
    return f"{OWN}{number}-{seconds}"


def own_seconds(lease: str) -> int:
    """Return the time of a key's own lease in seconds, or 0 for a shared lease."""
    if not lease.startswith(OWN):
        return 0
    return seconds_in(lease.rpartition("-")[2]) or 0


# --- the snapshot -------------------------------------------------------------------------------


def spell_granted(granted: Iterable[tuple[str, int]]) -> list[str]:
    """Return a line for each shared lease: `lease-57 10`."""
    return [f"{lease} {seconds}" for lease, seconds in granted]


def read_granted(lines: Iterable[str]) -> dict[str, int]:
    """Return the shared leases of these lines.

    Raises:
        ValueError: a line is not a valid lease, or repeats one.
    """
    granted: dict[str, int] = {}
    for line in lines:
        lease, _, text = line.partition(" ")
        seconds = seconds_in(text)
        if lease_in(lease) is None or seconds is None or lease in granted:
            raise ValueError("the line of a lease that says none, or one twice")
        granted[lease] = seconds
    return granted


# --- the expiry ---------------------------------------------------------------------------------


def spell_expiry(term: int, due: Sequence[str]) -> str:
    """Return the entry that ends these leases. Only the leader of this term may propose it."""
    return " ".join([EXPIRED, str(term), *due])


def read_expiry(operands: str, term: int) -> list[str]:
    """Return the leases that an expiry in an entry of `term` ends. If it names another term, it
    ends none: the leader of `term` has not measured their time."""
    proposer, _, leases = operands.partition(" ")
    return leases.split(" ") if proposer == str(term) else []
