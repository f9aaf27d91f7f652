"""The leases of the state machine and their durations. Pure.

The module has no clock. A lease ends by an entry: `release`, or the expiry that a leader proposes
after it has measured the time (node/loop/granted_leases.py). So every node ends a lease at the
same entry.

There are two kinds. A shared lease, `lease-57`, is granted by entry 57, and keys are put under it.
wire/operands/lease_operands.py defines the full form of its name. A key's own lease, `own-61-20`,
lasts 20 s and was set by entry 61 (`setex`, `expire`). It exists while a key is under it. If a
key's time is set again, an earlier expiry names a lease that no longer exists, and does nothing.
Keys of one transaction with the same time may share an own lease.

The Store holds the keys of each lease (store.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..wire.operands.lease_operands import LEASE, OWN, format_seconds, lease_in, ms_in
from ..wire.protocol import NAME

EXPIRED = "expired"  # the first word of an expiry; it has no row, so no client can type it


class Leases:
    """The shared leases by name, in the order of their entries, and the newly started leases."""

    def __init__(self) -> None:
        self.granted: dict[str, int] = {}  # milliseconds
        self.users: dict[str, str] = {}  # who asked for them, without those of nobody
        self.count_of: dict[str, int] = {}  # of these, by user
        # Leases whose time begins now, for a leader that measures it; None on other nodes.
        self.started: list[str] | None = None

    def grant(self, number: int, ms: int, tag: str = "", user: str = "") -> str:
        """Grant a shared lease by the entry with this number, and return its name."""
        name = f"{LEASE}{number}.{tag}" if tag else f"{LEASE}{number}"
        self.add(name, ms, user)
        self.begin(name)
        return name

    def add(self, name: str, ms: int, user: str) -> None:
        """Add a shared lease of a user, or of nobody ("")."""
        self.granted[name] = ms
        if user:
            self.users[name] = user
            self.count_of[user] = self.count_of.get(user, 0) + 1

    def begin(self, lease: str) -> None:
        """Start the time of a lease."""
        if self.started is not None:
            self.started.append(lease)

    def end(self, lease: str) -> None:
        """Remove a shared lease."""
        self.granted.pop(lease, None)
        user = self.users.pop(lease, "")
        if user:
            self.count_of[user] -= 1
            if not self.count_of[user]:
                del self.count_of[user]

    def copy(self) -> list[tuple[str, int, str]]:
        """Return a copy of the shared leases with their users, for a snapshot."""
        users = self.users
        return [(lease, ms, users.get(lease, "")) for lease, ms in self.granted.items()]


def own_lease(number: int, ms: int) -> str:
    """Return the name of a key's own lease, which holds its entry and its time."""
    return f"{OWN}{number}-{format_seconds(ms)}"


def own_ms(lease: str) -> int:
    """Return the time of a key's own lease in milliseconds, or 0 for a shared lease."""
    if not lease.startswith(OWN):
        return 0
    return ms_in(lease.rpartition("-")[2]) or 0


# --- the snapshot -------------------------------------------------------------------------------


def format_granted(granted: Iterable[tuple[str, int, str]]) -> list[str]:
    """Return a line for each shared lease: `lease-57 10`, or `lease-57 10 bob` for one of a
    user."""
    return [f"{lease} {format_seconds(ms)} {user}".rstrip(" ") for lease, ms, user in granted]


def read_granted(lines: Iterable[str]) -> Leases:
    """Return the shared leases of these lines.

    Raises:
        ValueError: a line is not a valid lease, or repeats one.
    """
    leases = Leases()
    for line in lines:
        lease, _, rest = line.partition(" ")
        text, space, user = rest.partition(" ")
        ms = ms_in(text)
        if lease_in(lease) is None or ms is None or lease in leases.granted:
            raise ValueError("the line of a lease that says none, or one twice")
        if space and not NAME.fullmatch(user):
            raise ValueError("the line of a lease that names no user")
        leases.add(lease, ms, user)
    return leases


# --- the expiry ---------------------------------------------------------------------------------


def format_expiry(term: int, due: Sequence[str]) -> str:
    """Return the entry that ends these leases. Only the leader of this term may propose it."""
    return " ".join([EXPIRED, str(term), *due])


def read_expiry(operands: str, term: int) -> list[str]:
    """Return the leases that an expiry in an entry of `term` ends. If it names another term, it
    ends none: the leader of `term` has not measured their time."""
    proposer, _, leases = operands.partition(" ")
    return leases.split(" ") if proposer == str(term) else []
