"""The connection slots ("places") of a node: some for clients, and some more that only peers may
take.

If all places of clients are taken, a new connection gets the place of a stranger: the oldest
connection that has sent nothing, or has not logged in. A stranger is given a moment to do so.

An eighth of the places of clients is for admins, and for strangers that are about to log in. If
users and admins would take more than the rest, the user with the most connections loses its newest
one. So a user that opens connections without end loses only its own.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from ...wire.limits import (
    PLACES_FOR_PEERS,
    PLACES_GIVEN_UP,
    PLACES_KEPT_PART,
    STRANGER_LEAST_S,
)

LEAST_CONNECTIONS = 16  # a node must have room for them


def fewer_than_wanted(name: str, count: int, wanted: int) -> str:
    """Return the warning of a node that accepts fewer connections than its settings allow."""
    return (
        f"[!] {name} takes {count:,} connections, not {wanted:,}: its process may have no more"
        " files and sockets open (ulimit -n, LimitNOFILE)"
    )


class Guest(Protocol):
    """A connection."""

    @property
    def is_stranger(self) -> bool:
        """Whether its place may go to another."""


G = TypeVar("G", bound=Guest)


class Places(Generic[G]):
    """The connections that have places. Times are in seconds on one clock."""

    def __init__(self, clients_max: int) -> None:
        self._clients_max = clients_max
        self._since: dict[G, float] = {}
        self._strangers: dict[G, None] = {}  # in order; some may not be strangers any longer
        self._given_up: set[G] = set()  # not ended yet
        self._user_of: dict[G, str] = {}  # of the connections that are logged in
        self._of_user: dict[str, dict[G, None]] = {}  # these by user, in order; without admins

    @property
    def all(self) -> list[G]:
        """Every connection that has not ended."""
        return list(self._since)

    @property
    def count(self) -> int:
        """The number of connections that have not ended."""
        return len(self._since)

    @property
    def is_for_peers_only(self) -> bool:
        """Whether all places of clients are taken."""
        return len(self._since) - len(self._given_up) >= self._clients_max

    @property
    def is_full(self) -> bool:
        """Whether all places are taken."""
        return len(self._since) - len(self._given_up) >= self._clients_max + PLACES_FOR_PEERS

    def make_room(self, now_s: float) -> list[G]:
        """Return the connections to end, so that a new one gets a client's place: as many as took
        the places of peers, and one more. The caller ends them, and then calls `leave`."""
        leaving: list[G] = []
        while self.is_for_peers_only and self._strangers:
            oldest = next(iter(self._strangers))
            if oldest.is_stranger:
                is_new = now_s - self._since[oldest] < STRANGER_LEAST_S
                if is_new or len(self._given_up) >= PLACES_GIVEN_UP:
                    return leaving
                self._given_up.add(oldest)
                leaving.append(oldest)
            del self._strangers[oldest]
        return leaving

    def take(self, guest: G, now_s: float) -> None:
        """Assign a place to a connection."""
        self._since[guest] = now_s
        self._strangers[guest] = None

    def log_in(self, guest: G, user: str, *, is_admin: bool) -> list[G]:
        """Count a connection for its user from now on; "" means that nobody is logged in there.
        Return the connections that lose their places, which may include this one. The caller ends
        them."""
        if self._user_of.get(guest, "") == user:
            return []
        self._log_out(guest)
        if guest not in self._since or not user:
            return []
        self._user_of[guest] = user
        if not is_admin:
            self._of_user.setdefault(user, {})[guest] = None
        leaving: list[G] = []
        most = self._clients_max - max(1, self._clients_max // PLACES_KEPT_PART)
        while len(self._user_of) > most and self._of_user:
            if len(self._given_up) >= PLACES_GIVEN_UP:
                break
            largest = max(self._of_user, key=lambda name: (len(self._of_user[name]), name == user))
            newest = next(reversed(self._of_user[largest]))
            self._log_out(newest)
            self._given_up.add(newest)
            leaving.append(newest)
        return leaving

    def _log_out(self, guest: G) -> None:
        user = self._user_of.pop(guest, None)
        own = self._of_user.get(user) if user is not None else None
        if user is not None and own is not None:
            own.pop(guest, None)
            if not own:
                del self._of_user[user]

    def leave(self, guest: G) -> bool:
        """Free the place of a connection that has ended; return whether it had one."""
        self._log_out(guest)
        self._strangers.pop(guest, None)
        self._given_up.discard(guest)
        return self._since.pop(guest, None) is not None
