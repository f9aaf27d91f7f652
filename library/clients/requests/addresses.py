"""The addresses of a cluster's nodes: the addresses that a program names, and the addresses of the
members that the cluster names. Pure.

Members come and go, and a program may name only one of them. So a client occasionally sends a
`status`, which every reader may send, on a connection that serves it. All connections of a client
share one `Addresses`: its requests, its watches, and the watches of waiting locks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable

from raftline.common.address import Address, is_loopback

from .health import ClientHealth

MEMBERS = "status"  # the command whose reply names the members
AGAIN_S = 60.0  # from an answer to the next request, while the members stay the same
SOON_S = 5.0  # without an answer, or after members that changed; then twice that, up to AGAIN_S
LEARNED_MAX = 64
_MARK = "STATUS response: "


class Addresses:
    """The addresses of one cluster: first the named ones, then the learned ones."""

    def __init__(
        self,
        named: Iterable[tuple[str, int]],
        *,
        learns: bool = False,
        health: ClientHealth | None = None,
    ) -> None:
        """Start with the `named` addresses. With `learns`, the client asks the cluster for its
        members. Without it, only a leader that a node names is added. `health` records whether the
        nodes serve."""
        self.health = ClientHealth() if health is None else health
        self.named = list(dict.fromkeys(Address(*each) for each in named))
        self._learned: tuple[Address, ...] = ()
        self.cluster = ""  # the identity of the cluster that served first
        self._due_s = -math.inf if learns else math.inf
        self._again_s = min(SOON_S, AGAIN_S)

    @property
    def known(self) -> list[Address]:
        """All addresses. The named addresses stay: their host names may lead to other nodes
        later."""
        return [*self.named, *(each for each in self._learned if each not in self.named)]

    def asks(self, now_s: float) -> bool:
        """Return whether to ask for the members now. If so, the request counts as sent."""
        if now_s < self._due_s:
            return False
        self._due_s = now_s + SOON_S
        return True

    def take(self, reply: str, now_s: float) -> None:
        """Record the reply to MEMBERS. Members that it does not name have left, and are dropped. If
        it comes from a cluster other than the first one that served, its members are not
        learned. Members that changed may change again soon."""
        members, cluster = members_in(reply)
        if cluster and self.cluster and cluster != self.cluster:
            members = []
        self.cluster = self.cluster or cluster
        if not members:
            self._due_s = now_s + SOON_S
            return
        learned = tuple(filter(self._may_be_learned, members))
        has_changed = set(learned) != set(self._learned)
        self._again_s = min(SOON_S if has_changed else 2 * self._again_s, AGAIN_S)
        self._learned = learned
        self._due_s = now_s + self._again_s

    def learn(self, address: Address) -> None:
        """Add an address, if it may be learned."""
        if self._may_be_learned(address) and address not in self._learned:
            self._learned = (*self._learned, address)[-LEARNED_MAX:]

    def _may_be_learned(self, address: Address) -> bool:
        """Return False for a loopback address if all named addresses are on other machines: a node
        may give that address for itself, and another program may listen there on this machine."""
        hosts = {each.host for each in self.named}
        is_near = address.host in hosts or not is_loopback(address.host)
        return is_near or any(map(is_loopback, hosts))


def members_in(reply: str) -> tuple[list[Address], str]:
    """Return the addresses of the members that a status names, and the identity of their cluster.
    Return no addresses if the status names no leader: the node may be cut off or may have left, so
    its members may be out of date."""
    if not reply.startswith(_MARK):
        return [], ""
    try:
        facts = json.loads(reply.removeprefix(_MARK))
        members = facts["members"] if facts["leader"] in facts["members"] else {}
        addresses = [Address.parse(each) for each in members.values()][:LEARNED_MAX]
    except (ValueError, KeyError, TypeError, AttributeError):
        return [], ""  # an older build, or a user who may not ask
    cluster = facts.get("cluster") if addresses else ""
    return addresses, cluster if isinstance(cluster, str) else ""


def lacks_leader(reply: str) -> bool:
    """Return whether a status names no leader."""
    try:
        return json.loads(reply.removeprefix(_MARK))["leader"] is None
    except (ValueError, KeyError, TypeError):
        return False
