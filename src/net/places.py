"""The places for connections of a node: some for clients, and more for peers alone.

If all places of clients are taken, the next one gets that of a stranger: of whoever came first
among those who have sent nothing, or have to log in and did not. It has had a moment to do so.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from raftline.wire.limits import PLACES_FOR_PEERS, PLACES_GIVEN_UP, STRANGER_LEAST_S

LEAST_CONNECTIONS = 16  # for which a node must have room


def fewer_than_wanted(name: str, taken: int, wanted: int) -> str:
    """Return what a node prints that takes fewer connections than it might."""
    return (
        f"[!] {name} takes {taken:,} connections, not {wanted:,}: its process may have no more"
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
        self._strangers: dict[G, None] = {}  # in the order in which they came; some are none now
        self._given_up: set[G] = set()  # and not ended yet

    @property
    def all(self) -> list[G]:
        """Every connection that has not ended."""
        return list(self._since)

    @property
    def count(self) -> int:
        """How many have not ended."""
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
        """Return those who give their places up, so that one that comes has one of a client's: as
        many as took the places of peers, and one more. The caller ends them; then they leave."""
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
        """Give a connection a place."""
        self._since[guest] = now_s
        self._strangers[guest] = None

    def leave(self, guest: G) -> bool:
        """Take its place back, as it ended; return whether it had one."""
        self._strangers.pop(guest, None)
        self._given_up.discard(guest)
        return self._since.pop(guest, None) is not None
