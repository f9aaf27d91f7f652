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
    """The outcome of the settings: for the node, then for the clients of its objects."""

    peer_auth: PeerAuth
    tls: Tls | None
    access: Access | None
    client_tls: ClientTls | None


def build_access(settings: AccessSettings) -> NodeAccess:
    """Return what the settings of a node make.

    Raises:
        ConfigError: one of them can't be, or a file can't be used, or nobody has to prove anything
            though others reach the node.
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
