"""The files of users, of the secret and of TLS, which a node that runs reads again."""

from __future__ import annotations

from collections.abc import Callable

from ..common.config import ConfigError
from .server import Server


def readers_of(server: Server) -> dict[str, Callable[[], str]]:
    """Return what reads each kind of file again that the node has, by its name; it may be called
    from any thread. It returns what to print of it, "" for nothing, and raises ConfigError if
    the file can't be used and all stays as it was."""
    readers: dict[str, Callable[[], str]] = {}
    if (access := server.access) is not None:

        def read_users() -> str:
            """Read them; lost rights end at once."""
            access.reload()
            server.listener.rights_changed()
            return f"{len(access.users.by_name)} in all"

        readers["users"] = read_users
    if server.peer_auth.secret:

        def read_secret() -> str:
            """Read it again. A connection that was proved by one that is gone is ended; the
            members make another."""
            server.peer_auth = server.peer_auth.read_again()
            server.book.prove_by(server.peer_auth)
            server.listener.secret_changed()
            return "two, of which the first is used" if server.peer_auth.other else ""

        readers["secret"] = read_secret
    if (tls := server.tls) is not None:

        def read_certificates() -> str:
            """Read them for new connections; those that stand keep what they have. But if the
            list of revoked ones is another, those that showed a certificate are made again."""
            if why := tls.reload():
                raise ConfigError(why)
            server.book.certificates_revoked()
            server.listener.certificates_revoked()
            for ending in tls.warnings():
                server.warn(ending)
            return ""

        readers["certificates"] = read_certificates
    return readers
