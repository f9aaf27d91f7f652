"""The certificates of a node or a client: the files, their TLS contexts, and the names in them.

Changed files are reloaded before the next connection, so new certificates need no restart. If the
new files can't be used yet, for example while they are copied, the earlier ones stay in use.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..common.config import ConfigError, as_option
from .expiry import ends_of, warning
from .secret import check_private

# The name has ten characters: its length byte is a newline, so a node without TLS sees the end of a
# line, and refuses it at once.
ALPN = "raftline/1"
_OTHER_KEY = "KEY_VALUES_MISMATCH"  # the name in OpenSSL
MEMBER = "raftline member"  # the organizational unit in a member's certificate


FILE_SETTINGS = ("tls_cert", "tls_key", "tls_ca", "tls_crl")  # of a node


class TlsFiles(NamedTuple):
    """PEM files: a certificate with its chain, its key, and the CA that signs other nodes'
    certificates."""

    cert: Path | None = None
    key: Path | None = None
    ca: Path | None = None


class Context(ssl.SSLContext):
    """A context for connections, with its list of revoked certificates."""

    revoked = b""


class Tls:
    """The TLS of one node or client."""

    def __init__(
        self,
        files: TlsFiles,
        *,
        is_only: bool = False,
        is_required: bool = False,
        crl: Path | None = None,
        names: Sequence[str] = tuple(map(as_option, FILE_SETTINGS)),
    ) -> None:
        """Read the files. `is_only` refuses connections without TLS, `is_required` also refuses
        connections without a certificate of the CA. `crl` is the CA's list of revoked certificates.
        `names` are the names of certificate, key, CA and list in messages.

        Raises:
            ConfigError: they can't be used.
        """
        self.files = files
        self.is_only = is_only
        self._is_required = is_required
        self._crl = crl
        self._names = names
        self._lock = threading.Lock()
        self._seen = self._stamps()
        self._answers, self._dials = self._contexts()
        self._ends = self._read_ends()

    @property
    def proves_members(self) -> bool:
        """Whether a member must show a certificate of the CA."""
        return self.is_only and self.files.ca is not None

    def ends(self) -> dict[str, int]:
        """Return the expiry of the loaded certificates, in seconds since 1970: `certificate` and
        `ca`."""
        self._check()
        return self._ends

    def _read_ends(self) -> dict[str, int]:
        files = {"certificate": self.files.cert, "ca": self.files.ca}
        ends = {what: ends_of(path) for what, path in files.items() if path is not None}
        return {what: at_s for what, at_s in ends.items() if at_s is not None}

    def warnings(self) -> list[str]:
        """Return a line about each loaded certificate that expires soon, or has expired."""
        certificates = zip(
            ("certificate", "ca"), (0, 2), (self.files.cert, self.files.ca), strict=True
        )
        lines = [
            warning(f"{self._names[place]} {path}", self._ends[what])
            for what, place, path in certificates
            if what in self._ends
        ]
        return [line for line in lines if line]

    @property
    def revoked(self) -> bytes:
        """The loaded list of revoked certificates."""
        return self._answers.revoked

    def is_current(self, context: ssl.SSLContext | None) -> bool:
        """Return whether this context has the current list of revoked certificates."""
        return not isinstance(context, Context) or context.revoked == self.revoked

    def server_context(self) -> ssl.SSLContext:
        """Return the context for an incoming connection."""
        self._check()
        return self._answers

    def client_context(self) -> ssl.SSLContext:
        """Return the context for an outgoing connection."""
        self._check()
        return self._dials

    def reload(self) -> str:
        """Reload the files. Return the reason if that failed, or else ""."""
        with self._lock:
            try:
                self._seen = self._stamps()
                self._answers, self._dials = self._contexts()
                self._ends = self._read_ends()
            except ConfigError as problem:
                return str(problem)
        return ""

    def _check(self) -> None:
        if self._stamps() != self._seen:
            self.reload()

    def _stamps(self) -> list[tuple[int, int, int]]:
        stamps = []
        for path in (*self.files, self._crl):
            try:
                facts = os.stat(path) if path is not None else None
            except OSError:
                facts = None
            stamps.append((facts.st_mtime_ns, facts.st_ino, facts.st_size) if facts else (0, 0, 0))
        return stamps

    def _contexts(self) -> tuple[Context, Context]:
        answers, dials = Context(ssl.PROTOCOL_TLS_SERVER), Context(ssl.PROTOCOL_TLS_CLIENT)
        cert, key, ca = self.files
        for context in (answers, dials):
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.set_alpn_protocols([ALPN])
            context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
            context.hostname_checks_common_name = False  # it names a member or a user, not a host
            if cert is not None:
                _load_certificate(context, cert, key, self._names)
            if ca is not None:
                _load_ca(context, ca, self._names[2])
        answers.num_tickets = 0  # no client resumes a session
        answers.verify_mode = ssl.CERT_OPTIONAL if ca is not None else ssl.CERT_NONE
        if self._is_required:
            answers.verify_mode = ssl.CERT_REQUIRED
        if ca is None:
            dials.load_default_certs()
        if self._crl is not None:
            _load_revoked((answers, dials), self._crl, self._names[3])
        return answers, dials


def _load_certificate(
    context: ssl.SSLContext, cert: Path, key: Path | None, names: Sequence[str]
) -> None:
    both = f"{names[0]} {cert}" if key is None else f"{names[0]} {cert}, {names[1]} {key}"

    def no_password() -> str:
        raise ConfigError(f"{both}: a key with a password can't be used, since nobody can type it")

    try:
        if key is not None:
            check_private(key, os.stat(key), names[1])
        context.load_cert_chain(cert, key, password=no_password)
    except ssl.SSLError as error:
        reason = error.reason or "no certificate and key in PEM"
        why = "the key belongs to another certificate" if reason == _OTHER_KEY else reason
        more = f"; if the key is in a separate file, name {names[1]} as well" * (key is None)
        raise ConfigError(f"{both}: {why}{more}") from None
    except OSError as error:
        raise ConfigError(f"{both}: {error.strerror}") from None


def _load_ca(context: ssl.SSLContext, ca: Path, name: str) -> None:
    with _reported(f"{name} {ca}", "no certificate in PEM"):
        context.load_verify_locations(ca)


def _load_revoked(contexts: Sequence[Context], crl: Path, name: str) -> None:
    """Make contexts refuse each certificate on the list."""
    with _reported(f"{name} {crl}", "no list of revoked certificates in PEM"):
        content = crl.read_bytes()
        for context in contexts:
            before = context.cert_store_stats()
            context.load_verify_locations(crl)
            after = context.cert_store_stats()
            if after["crl"] == before["crl"] or after["x509"] != before["x509"]:
                raise ssl.SSLError
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
            context.revoked = content


@contextlib.contextmanager
def _reported(file: str, what_else: str) -> Iterator[None]:
    """Report an error of the block in one line. `what_else` says what is in a file that OpenSSL
    can't use."""
    try:
        yield
    except ssl.SSLError:
        raise ConfigError(f"{file}: {what_else}") from None
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from None


def tls_of_node(
    files: TlsFiles,
    *,
    is_only: bool,
    is_required: bool = False,
    crl: Path | None = None,
    called: Callable[[str], str] = as_option,
) -> Tls | None:
    """Return the TLS of a node from its `tls_…` settings, or None without any. Messages name
    settings by `called`.

    Raises:
        ConfigError: a setting is missing, or a file can't be used.
    """
    cert, key, ca = files
    if is_required and (ca is None or not is_only):
        raise ConfigError(
            f"{called('tls_require')} requires a certificate of the CA from everybody, over TLS "
            f"only: add {called('tls_only')} and {called('tls_ca')} FILE"
        )
    if crl is not None and ca is None:
        raise ConfigError(
            f"{called('tls_crl')} names certificates that the CA revoked: add "
            f"{called('tls_ca')} FILE"
        )
    if cert is None and key is None and ca is None and not is_only:
        return None
    if cert is None or key is None:
        raise ConfigError(f"TLS needs both {called('tls_cert')} FILE and {called('tls_key')} FILE")
    names = [called(setting) for setting in FILE_SETTINGS]
    return Tls(files, is_only=is_only, is_required=is_required, crl=crl, names=names)


def check_names(names: Iterable[str]) -> None:
    """Check that a handshake can ask for a certificate of each of these members.

    Raises:
        ConfigError: a name is not a valid host name, which has 1 to 63 characters between dots (RFC
            1035).
    """
    for name in names:
        try:
            name.encode("idna")
        except UnicodeError:
            raise ConfigError(
                f"TLS can't ask for a certificate of {name}: between dots a name has 1 to 63 "
                "characters. Give that member another name, or do not use TLS"
            ) from None


def named_in(certificate: dict[str, object]) -> tuple[str, bool]:
    """Return the common name in a verified certificate, and whether it is a member's. With no
    common name, or several, the name is ""."""
    names, is_member = [], False
    subject = certificate.get("subject", ())
    for part in subject if isinstance(subject, tuple) else ():
        for field, value in part:
            if field == "commonName":
                names.append(value)
            elif field == "organizationalUnitName" and value == MEMBER:
                is_member = True
    return (names[0], is_member) if len(names) == 1 else ("", False)
