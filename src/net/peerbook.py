"""The peers of a node: where they are reached, and the one connection that speaks for each.

The log holds who the members are and where; `server-configuration.txt` has the last word on where
(a proxy, another network). Connections begin and end as the configuration changes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping

from raftline.access.secret import PeerAuth
from raftline.common.address import Address
from raftline.net.peers import Peer
from raftline.raft.messages import PeerError


class PeerBook:
    """The peers of one node. `follow` is called by one thread at a time (with the driver's
    `core` held), the others by any."""

    def __init__(
        self,
        here: Mapping[str, Address],
        dial: Callable[[str, Address], Peer],
    ) -> None:
        """Prepare; `here` is what this node's own configuration file holds."""
        self._here = here
        self._dial = dial
        self._peers: dict[str, Peer] = {}
        self._addresses: dict[str, Address] = dict(here)  # also of those who have left
        self._started = False
        self._stopped = False

    def follow(self, contacts: Mapping[str, str]) -> None:
        """Keep a connection to exactly these, name to host:port; never waits for a network."""
        wanted = {
            name: self._here.get(name, Address.parse(text)) for name, text in contacts.items()
        }
        peers = dict(self._peers)
        for name in [name for name in peers if peers[name].address != wanted.get(name)]:
            peers.pop(name).stop()
        for name, address in wanted.items():
            if name not in peers and not self._stopped:
                peers[name] = self._dial(name, address)
                if self._started:
                    peers[name].start()
        self._addresses = {**self._addresses, **wanted}
        self._peers = peers  # replaced as a whole: others read it meanwhile

    def send(self, name: str, line: bytes) -> None:
        """Send a line to a peer, or drop it if there is no connection."""
        peer = self._peers.get(name)
        if peer is not None:
            peer.send(line)

    def prove_by(self, peer_auth: PeerAuth) -> None:
        """Have each connection proved by this; one whose secret holds no more begins again."""
        for peer in list(self._peers.values()):
            peer.prove_by(peer_auth)

    def certificates_revoked(self) -> None:
        """Have each connection look whether its certificate is a revoked one."""
        for peer in list(self._peers.values()):
            peer.certificates_revoked()

    def unproven(self) -> list[str]:
        """Return the peers that have not proved themselves on a connection from here."""
        return [name for name, peer in self._peers.items() if not peer.is_proven]

    def traffic(self) -> dict[str, tuple[int, int]]:
        """Return for each peer how many bytes were sent to it, and how many its answers had."""
        return {name: (peer.bytes_sent, peer.bytes_read) for name, peer in self._peers.items()}

    def __contains__(self, name: str) -> bool:
        return name in self._peers

    def __iter__(self) -> Iterator[str]:
        return iter(self._peers)

    def address(self, name: str) -> Address | None:
        """Return where `name` is reached; None for one that was never heard of."""
        return self._addresses.get(name)

    def start(self) -> None:
        self._started = True
        for peer in list(self._peers.values()):
            peer.start()

    def stop(self) -> None:
        self._stopped = True
        for peer in list(self._peers.values()):
            peer.stop()


class Speakers:
    """Remembers for each peer's name the connection that used it last, and when.

    While that connection is open and spoke within `quiet_ms`, nobody else may use the name: a
    second process under one name would collect votes that were given to the first. A name whose
    bearer is silent or away is free, so a person may type in its stead.
    """

    def __init__(self, quiet_ms: int, clock_ms: Callable[[], int]) -> None:
        self._quiet_ms = quiet_ms
        self._clock_ms = clock_ms
        self._lock = threading.Lock()
        self._speaking: dict[str, tuple[object, int]] = {}

    def claim(self, name: str, connection: object) -> None:
        """Let `connection` speak for the peer.

        Raises:
            PeerError: another connection spoke for it just now.
        """
        now = self._clock_ms()
        with self._lock:
            holder, spoke_ms = self._speaking.get(name, (connection, now))
            if holder is not connection and now - spoke_ms < self._quiet_ms:
                raise PeerError(f"{name} speaks on another connection; nobody else does for it")
            self._speaking[name] = (connection, now)

    def release(self, name: str, connection: object) -> bool:
        """End the claim of a connection that ended; return whether it had one. If not, the peer
        speaks on a later connection."""
        with self._lock:
            was_its = self._speaking.get(name, (None, 0))[0] is connection
            if was_its:
                del self._speaking[name]
            return was_its
