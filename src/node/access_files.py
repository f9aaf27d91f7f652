"""The files that say who may come in, read again by a node that runs."""

from __future__ import annotations

from collections.abc import Callable

from raftline.access.login import Access
from raftline.access.tls import Tls
from raftline.common.config import ConfigError
from raftline.node.server import Server


def readers_of(server: Server) -> dict[str, Callable[[], str]]:
    """Return what reads each of the files again that the node has, from any thread, by its name.

    A reader returns a remark, "" where there is none. It raises ConfigError where the file can't
    be used: all stays as it was.
    """
    readers: dict[str, Callable[[], str]] = {}
    if (access := server.access) is not None:
        readers["users"] = lambda: _read_users(server, access)
    if server.peer_rule.secret:
        readers["secret"] = lambda: _read_secret(server)
    if (tls := server.tls) is not None:
        readers["certificates"] = lambda: _read_certificates(tls)
    return readers


def _read_users(server: Server, access: Access) -> str:
    """Whoever may do less by them does less at once."""
    access.reload()
    server.listener.rights_changed()
    return f"{len(access.users.by_name)} in all"


def _read_secret(server: Server) -> str:
    """A connection that was proved by a secret that is gone is ended; the members make another."""
    server.peer_rule = server.peer_rule.read_again()
    server.book.prove_by(server.peer_rule)
    server.listener.secret_changed()
    return "two, of which the first is used" if server.peer_rule.other else ""


def _read_certificates(tls: Tls) -> str:
    """New connections use them; those that stand keep what they have."""
    if why := tls.reload():
        raise ConfigError(why)
    return ""
