"""Access to a node inside a program, and of the clients of its objects to the other nodes."""

from __future__ import annotations

from typing import NamedTuple

from raftline.access.login import Access
from raftline.access.secret import PeerAuth
from raftline.access.tls import Tls
from raftline.clients.tls import ClientTls
from raftline.common.config import ConfigError
from raftline.node.access_settings import AccessSettings
from raftline.node.reading_again import readers_of
from raftline.node.server import Server


class NodeAccess(NamedTuple):
    """The access of the node, then of the clients of its objects."""

    peer_auth: PeerAuth
    tls: Tls | None
    access: Access | None
    client_tls: ClientTls | None


def build_access(settings: AccessSettings) -> NodeAccess:
    """Return what the settings of a node make.

    Raises:
        ConfigError: a setting or a file can't be used, or other machines reach the node and
            need no proof.
    """
    settings.check()
    peer_auth, tls = settings.proofs()
    client_tls = ClientTls.of(tls) if tls is not None else None
    return NodeAccess(peer_auth, tls, settings.access(), client_tls)


def reload(server: Server) -> str:
    """Have a node read the files of users, certificates and secret; return what went wrong."""
    problems = []
    for read in readers_of(server).values():
        try:
            read()
        except ConfigError as problem:
            problems.append(str(problem))
    return "; ".join(problems)
