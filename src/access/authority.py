"""The CA of a cluster that speaks TLS, and the certificates of its nodes and clients.

A second run adds missing files and replaces none: to get new ones, delete a certificate and its
key. The CA's key can sign certificates of members, so keep it on another machine.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.address import HOST
from ..common.config import ConfigError, check_name, complaint
from .expiry import WARN_DAYS, ends_of, warning
from .secret import write_new
from .tls import MEMBER

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

CA_DAYS, DAYS = 3650, 397
AN_HOUR = datetime.timedelta(hours=1)  # the tolerated difference between clocks


def make(folder: Path, nodes: Sequence[str], clients: Sequence[str], days: int = DAYS) -> list[str]:
    """Create the missing files of a folder. Return a line about each new and each existing file.

    `nodes` are `NAME=HOST` or `NAME=HOST,HOST`; `clients` are names.

    Raises:
        ConfigError: cryptography is not installed, a name is invalid, an existing certificate is
            for other names, or a file can't be written.
    """
    _check_library()
    requests = [_node(each) for each in nodes] + [(name, (), False) for name in clients]
    for name, hosts, _ in requests:
        check_name(name)
        if name == "ca":
            raise ConfigError("ca.pem is the certificate of the CA; choose another name than ca")
        for host in hosts:
            if not HOST.fullmatch(host):
                raise ConfigError(f"{host!r} is not a host name or an address")
    if len({name for name, _, _ in requests}) < len(requests):
        raise ConfigError("each name has one certificate; a name is given twice")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        existing = [_is_kept(folder, name, hosts) for name, hosts, _ in requests]
        authority = _Authority(folder, days)
        for (name, hosts, is_member), stays in zip(requests, existing, strict=True):
            if stays:
                authority.made.append(f"{folder / name}.pem stays: it is for these names already")
            else:
                authority.issue(name, hosts, is_member)
    except OSError as error:
        raise ConfigError(complaint(error, folder)) from None
    return authority.made


def renew(folder: Path, days: int = DAYS) -> list[str]:
    """Renew each certificate in a folder that expires within WARN_DAYS, with the same key and
    names. Return a line about each.

    Raises:
        ConfigError: cryptography is not installed, or a file can't be read or written.
    """
    _check_library()
    if not (folder / "ca.key").is_file():
        raise ConfigError(f"{folder}: has no ca.key, which signs certificates")
    try:
        authority = _Authority(folder, days)
        for path in sorted(folder.glob("*.pem")):
            ends_s = ends_of(path)
            if ends_s is None or not warning("", ends_s):
                continue
            if path.name == "ca.pem":
                authority.made.append(f"{warning(str(path), ends_s)}; a new CA is needed then")
            else:
                authority.renew(path)
    except OSError as error:
        raise ConfigError(complaint(error, folder)) from None
    return authority.made or [f"no certificate in {folder} ends within {WARN_DAYS} days"]


def _check_library() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError:
        raise ConfigError(
            "raftline certs needs the package cryptography: pip install 'cryptography>=42'; "
            "docs/operate/tls-and-secret.md shows the same with openssl"
        ) from None


def _node(text: str) -> tuple[str, tuple[str, ...], bool]:
    name, equals, hosts = text.partition("=")
    if not equals or not hosts:
        raise ConfigError(f"--node {text}: the form is NAME=HOST, or NAME=HOST,HOST")
    return name, tuple(hosts.split(",")), True


def _is_kept(folder: Path, name: str, hosts: Sequence[str]) -> bool:
    """Return whether there is a certificate for these names. Its key may be elsewhere.

    Raises:
        ConfigError: it is for other names, or there is a key without a certificate.
    """
    from cryptography import x509

    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    if not cert.exists():
        if key.exists():
            raise ConfigError(f"{key}: a key without {cert.name}; delete it to get a new pair")
        return False
    try:
        extensions = x509.load_pem_x509_certificate(cert.read_bytes()).extensions
        places = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        raise ConfigError(f"{cert}: not a certificate that this command made") from None
    if set(places) != set(_places(name, hosts)):
        names = ", ".join(str(each.value) for each in places)
        raise ConfigError(
            f"{cert}: already exists, for {names}; delete it and {key.name} to replace them"
        )
    return True


class _Authority:
    """The CA of one folder, created if it does not exist."""

    def __init__(self, folder: Path, days: int) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

        self._folder = folder
        self._days = days
        self.made: list[str] = []
        cert, key = folder / "ca.pem", folder / "ca.key"
        if cert.exists() or key.exists():
            try:
                self._cert = x509.load_pem_x509_certificate(cert.read_bytes())
                loaded = serialization.load_pem_private_key(key.read_bytes(), None)
            except (ValueError, TypeError):
                raise ConfigError(f"{cert}, {key}: not made by this command") from None
            if not isinstance(loaded, EllipticCurvePrivateKey):
                raise ConfigError(f"{key}: not the kind of key that this command makes")
            self._key = loaded
            return
        self._key = _new_key()
        name = _subject("raftline CA", is_member=False)
        builder = _begun(name, name, self._key.public_key(), CA_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        builder = builder.add_extension(_usage(is_ca=True), True)
        self._cert = self._signed(builder, self._key.public_key())
        self._write(cert, key, self._cert, self._key, CA_DAYS)

    def issue(self, name: str, hosts: Sequence[str], is_member: bool) -> None:
        """Create a certificate and its key."""
        from cryptography import x509
        from cryptography.x509.oid import ExtendedKeyUsageOID as Purpose

        cert, key_path = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        key = _new_key()
        subject = _subject(name, is_member=is_member)
        builder = _begun(subject, self._cert.subject, key.public_key(), self._days)
        purposes = [Purpose.CLIENT_AUTH, *([Purpose.SERVER_AUTH] if is_member else [])]
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        builder = builder.add_extension(_usage(is_ca=False), True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), False)
        builder = builder.add_extension(x509.SubjectAlternativeName(_places(name, hosts)), False)
        self._write(cert, key_path, self._signed(builder, key.public_key()), key, self._days)

    def renew(self, path: Path) -> None:
        """Replace a certificate with a new one for the same key and names."""
        from cryptography import x509

        try:
            before = x509.load_pem_x509_certificate(path.read_bytes())
            before.verify_directly_issued_by(self._cert)
        except Exception:  # cryptography has a type for each mistake
            raise ConfigError(f"{path}: is not a certificate that this CA signed") from None
        builder = _begun(before.subject, self._cert.subject, before.public_key(), self._days)
        for each in before.extensions:
            of_keys = (x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier)
            if not isinstance(each.value, of_keys):  # `_signed` adds these
                builder = builder.add_extension(each.value, each.critical)
        made = self._signed(builder, before.public_key())
        new = path.with_name(f"{path.name}.new")
        new.write_bytes(_pem(made))
        new.replace(path)  # a node sees the old or the new file
        self.made.append(f"{path}, for {self._days} days from now")

    def _signed(
        self, builder: x509.CertificateBuilder, own: CertificatePublicKeyTypes
    ) -> x509.Certificate:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes

        authority = self._key.public_key()
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(own), False)
        issued_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority)
        builder = builder.add_extension(issued_by, False)
        return builder.sign(self._key, hashes.SHA256())

    def _write(
        self,
        cert: Path,
        key_path: Path,
        made: x509.Certificate,
        key: EllipticCurvePrivateKey,
        days: int,
    ) -> None:
        from cryptography.hazmat.primitives import serialization

        secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        write_new(key_path, secret)
        try:
            cert.write_bytes(_pem(made))
        except OSError:  # neither file is useful without the other
            cert.unlink(missing_ok=True)
            key_path.unlink()
            raise
        self.made.append(f"{cert} and {key_path}, for {days} days")


def _pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return certificate.public_bytes(serialization.Encoding.PEM)


def _new_key() -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _begun(
    subject: x509.Name, issuer: x509.Name, key: CertificatePublicKeyTypes, days: int
) -> x509.CertificateBuilder:
    from cryptography import x509

    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - AN_HOUR)
    builder = builder.not_valid_after(now + datetime.timedelta(days=days))
    return builder.public_key(key)


def _subject(name: str, *, is_member: bool) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    parts = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    if is_member:
        parts.append(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, MEMBER))
    return x509.Name(parts)


def _usage(*, is_ca: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not is_ca,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _places(name: str, hosts: Sequence[str]) -> list[x509.GeneralName]:
    """Return the names and addresses that a certificate of this name is for."""
    return [_place(each) for each in dict.fromkeys([name, *hosts])]


def _place(host: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
