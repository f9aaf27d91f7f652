"""The TLS of a client, with files that a program, an option or the environment names.

Plain clients do not load ssl, which takes a while: the first ClientTls loads it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from raftline.common.config import ConfigError
from raftline.common.public import public

if TYPE_CHECKING:
    import ssl

    from raftline.access.tls import Tls

PREFIX = "RAFTLINE_TLS_"  # of environment variables; the rest of each name is in `PARTS`
PARTS = ("CERT", "KEY", "CA", "SERVER_NAME")
OPTIONS = ("--tls-cert", "--tls-key", "--tls-ca", "--tls-server-name")
_File = str | os.PathLike[str] | None


@public("raftline")
class ClientTls:
    """TLS for the connections of a client: `raftline.connect(…, tls=ClientTls(ca="ca.pem"))`.

    `ca` is the file of the CA that signs the nodes' certificates; the default is the CAs that this
    machine trusts. `cert` and `key` are the client's certificate and its key. A node's certificate
    has to name the host of the connection, or `server_name` if it is given.
    """

    def __init__(
        self,
        *,
        ca: _File = None,
        cert: _File = None,
        key: _File = None,
        server_name: str | None = None,
    ) -> None:
        """Read the files.

        Raises:
            ValueError: a file can't be used; the message names the file and the reason.
            TypeError: a file is not a path, or `server_name` is not a string.
        """
        try:
            self._tls = _made(cert, key, ca, ("cert", "key", "ca"))
        except ConfigError as problem:
            raise ValueError(f"tls: {problem}") from None
        self.server_name = _checked_name(server_name)

    def __repr__(self) -> str:
        return f"<ClientTls with {', '.join(map(str, filter(None, self._tls.files))) or 'no file'}>"

    @classmethod
    def of(cls, tls: Tls, server_name: str | None = None) -> ClientTls:
        """Return a client's TLS with the files of `tls`, which are already loaded."""
        client_tls = cls.__new__(cls)
        client_tls._tls, client_tls.server_name = tls, server_name
        return client_tls

    def context(self) -> ssl.SSLContext:
        """Return the context of the next connection; reload changed files."""
        return self._tls.client_context()

    def name_of(self, host: str) -> str:
        """Return the name that must be in the certificate of the node at `host`."""
        return self.server_name or host


def _made(cert: _File, key: _File, ca: _File, names: Sequence[str]) -> Tls:
    """Return the TLS with these files. Raises ConfigError, whose message refers to them by
    `names`."""
    from raftline.access.tls import Tls, TlsFiles

    if key is not None and cert is None:
        raise ConfigError(f"{names[1]} {key}: a key without a certificate; name {names[0]} as well")
    paths = (Path(each) if each is not None else None for each in (cert, key, ca))
    return Tls(TlsFiles(*paths), names=names)


def _checked_name(name: str | None) -> str | None:
    if name is not None and not isinstance(name, str):
        raise TypeError(f"a server name is a string, not of type {type(name).__name__}")
    if name == "":
        raise ValueError("a server name has at least one character")
    return name


class TlsTrouble(NamedTuple):
    """The reason why a TLS connection failed."""

    word: str  # for a table
    why: str
    advice: str = ""  # to a user at a shell


NO_TLS, BAD_CERTIFICATE, REFUSED_HERE = "no TLS", "bad certificate", "certificate refused"
# With TLS 1.3 a client learns that its certificate was refused only when it reads an answer.
_REFUSALS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED":
        ("it requires a client certificate: name one and its key, along with the CA",
         "At a shell: --tls-cert FILE --tls-key FILE."),
    "SSLV3_ALERT_CERTIFICATE_REVOKED":
        ("the certificate of this client was revoked", "Name another one: --tls-cert FILE."),
    "SSLV3_ALERT_CERTIFICATE_EXPIRED":
        ("the certificate of this client has expired, by the clock there",
         "Renew it: raftline certs DIR --renew. Or is that clock wrong?"),
    "SSLV3_ALERT_BAD_CERTIFICATE":  # OpenSSL's alert for a certificate that is not yet valid
        ("the certificate of this client is not valid, or not yet, by the clock there",
         "Compare that clock with the one here."),
    "TLSV1_ALERT_UNKNOWN_CA":
        ("the certificate of this client is from another CA",
         "Name one of this cluster's CA: --tls-cert FILE."),
}  # fmt: skip
# By OpenSSL's error number (X509_V_ERR_…), so that its wording may change.
_NOT_YET_VALID, _EXPIRED, _OTHER_CA, _OTHER_NAME = 9, 10, (18, 19, 20, 21), (62, 64)
_RENEW = "Renew it there: raftline certs DIR --renew."


def of_files(
    cert: _File, key: _File, ca: _File, server_name: str | None, names: Sequence[str]
) -> ClientTls:
    """Return the TLS with these files; messages refer to the first three by `names`.

    Raises:
        ConfigError: the files can't be used.
    """
    return ClientTls.of(_made(cert, key, ca, names), server_name)


def of_environment() -> ClientTls | None:
    """Return the TLS with the files in $RAFTLINE_TLS_CA, _CERT and _KEY, and _SERVER_NAME; None if
    they name no file.

    Raises:
        ConfigError: a file can't be used.
    """
    names = [f"{PREFIX}{part}" for part in PARTS]
    cert, key, ca, server_name = (os.environ.get(name) or None for name in names)
    if cert or key or ca:
        return of_files(cert, key, ca, server_name, [f"${name}" for name in names])
    if server_name:
        raise ConfigError(f"${PREFIX}SERVER_NAME is for TLS; ${PREFIX}CA names the CA")
    return None


def tls_of(tls: ClientTls | None) -> ClientTls | None:
    """Return the TLS that a program names, or otherwise the TLS that the environment names.

    Raises:
        TypeError: `tls` is not a ClientTls. ValueError: the environment names unusable files.
    """
    if tls is not None and not isinstance(tls, ClientTls):
        raise TypeError(f"tls is a raftline.ClientTls, not of type {type(tls).__name__}")
    try:
        return tls if tls is not None else of_environment()
    except ConfigError as problem:
        raise ValueError(str(problem)) from None


def is_certificate_refused(error: OSError) -> bool:
    """Return whether the other side refused this client's certificate, and so accepted no
    request."""
    ssl = sys.modules.get("ssl")
    return ssl is not None and isinstance(error, ssl.SSLError) and error.reason in _REFUSALS


def tls_trouble(error: OSError) -> TlsTrouble | None:
    """Return the reason why TLS failed; None for any other error."""
    ssl = sys.modules.get("ssl")  # None: no TLS was tried
    if ssl is None or not isinstance(error, ssl.SSLError):
        return None
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message.removesuffix(".")
        why = f"its certificate is not accepted (CERTIFICATE_VERIFY_FAILED): {why}"
        return TlsTrouble(BAD_CERTIFICATE, why, _advice(error.verify_code))
    if error.reason == "WRONG_VERSION_NUMBER":
        advice = "Leave out --tls-ca and $RAFTLINE_TLS_CA, or start the node with --tls-cert."
        return TlsTrouble(NO_TLS, "it does not speak TLS here", advice)
    if refusal := _REFUSALS.get(error.reason or ""):
        return TlsTrouble(REFUSED_HERE, *refusal)
    return TlsTrouble(NO_TLS, f"the TLS handshake failed: {error.reason or error}")


def _advice(verify_code: int) -> str:
    """Return the advice for a node's certificate that is not accepted, by OpenSSL's reason."""
    if verify_code == _EXPIRED:
        return f"{_RENEW} Is the clock of this machine right?"
    if verify_code == _NOT_YET_VALID:
        return "Is the clock of this machine right?"
    if verify_code in _OTHER_CA:
        return "Name the CA of this cluster: --tls-ca FILE, or $RAFTLINE_TLS_CA."
    if verify_code in _OTHER_NAME:
        return "Connect to the host in the certificate, or name it: --tls-server-name HOST."
    return ""
