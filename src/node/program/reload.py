"""Reloading the files of the secret and of TLS while the node runs."""

from __future__ import annotations

from collections.abc import Callable

from ...common.config import ConfigError
from .node_server import Server


def readers_of(server: Server) -> dict[str, Callable[[], str]]:
    """Return a function for each kind of file of the node, which reloads it in any thread. It
    returns a note to print, "" for none; it raises ConfigError, and changes nothing, if the file
    can't be used."""
    readers: dict[str, Callable[[], str]] = {}
    if server.peer_auth.secret:

        def read_secret() -> str:
            """Reload the secret. End connections whose proof used a secret that is gone; the
            members then make new ones."""
            server.peer_auth = server.peer_auth.read_again()
            server.book.prove_by(server.peer_auth)
            server.listener.secret_changed()
            return "two, of which the first is used" if server.peer_auth.other else ""

        readers["secret"] = read_secret
    if (tls := server.tls) is not None:

        def read_certificates() -> str:
            """Reload the certificates, for new connections; existing ones keep theirs. But if the
            list of revoked certificates has changed, connections with a certificate are ended."""
            if why := tls.reload():
                raise ConfigError(why)
            server.book.certificates_revoked()
            server.listener.certificates_revoked()
            for ending in tls.warnings():
                server.warn(ending)
            return ""

        readers["certificates"] = read_certificates
    return readers
