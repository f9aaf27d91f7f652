"""Whom this node keeps a connection to, and where they are reached.

The log says who the members are and where; `server-configuration.txt` has the last word on where
(a proxy, another network). Connections begin and end as the configuration changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from raftline.common.address import Address
from raftline.net.peers import Peer


class PeerBook:
    """The peers of one node. `follow` is called by one thread at a time (with the driver's
    `core` held), the others by any."""

    def __init__(
        self,
        here: Mapping[str, Address],
        dial: Callable[[str, Address], Peer],
    ) -> None:
        """Prepare; `here` is what this node's own configuration file says."""
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
        """Send a line to a peer, or drop it where there is no connection."""
        peer = self._peers.get(name)
        if peer is not None:
            peer.send(line)

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
