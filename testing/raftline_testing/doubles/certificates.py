"""Certificates that `raftline certs` doesn't make, and revocation lists, signed by its CA."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from raftline.access.tls import MEMBER, TlsFiles

DAY = datetime.timedelta(days=1)
PEM = serialization.Encoding.PEM


def named(*common_names: str, is_member: bool = True) -> x509.Name:
    """Return a subject with these common names, in this order."""
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, name) for name in common_names]
    if is_member:
        parts.append(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, MEMBER))
    return x509.Name(parts)


def authority(made: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Return the CA of a folder of `raftline certs`, and its key."""
    key = serialization.load_pem_private_key((made / "ca.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return x509.load_pem_x509_certificate((made / "ca.pem").read_bytes()), key


def issue(
    made: Path,
    file: str,
    subject: x509.Name,
    hosts: Sequence[str] = (),
    *,
    since: datetime.timedelta = -3 * DAY,
    until: datetime.timedelta = DAY,
) -> TlsFiles:
    """Return a new certificate, for both sides of a connection, without alternative names if there
    are no `hosts`. It is valid from `since` to `until`, relative to now."""
    ca, ca_key = authority(made)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder(
        ca.subject,
        subject,
        key.public_key(),
        x509.random_serial_number(),
        now + since,
        now + until,
    )
    both = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    builder = builder.add_extension(x509.ExtendedKeyUsage(both), False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    builder = builder.add_extension(issuer, False)
    if hosts:
        names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
        builder = builder.add_extension(names, False)
    files = TlsFiles(made / f"{file}.pem", made / f"{file}.key", made / "ca.pem")
    assert files.cert is not None
    assert files.key is not None
    files.cert.write_bytes(builder.sign(ca_key, hashes.SHA256()).public_bytes(PEM))
    secret = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    files.key.touch(mode=0o600)
    files.key.write_bytes(secret)
    return files


def revoke(made: Path, path: Path, *files: str, until: datetime.timedelta = DAY) -> Path:
    """Write a list of revoked certificates atomically; return its path."""
    ca, ca_key = authority(made)
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateRevocationListBuilder().issuer_name(ca.subject)
    builder = builder.last_update(now - 2 * DAY).next_update(now + until)
    for file in files:
        certificate = x509.load_pem_x509_certificate((made / f"{file}.pem").read_bytes())
        gone = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number)
        builder = builder.add_revoked_certificate(gone.revocation_date(now - DAY).build())
    beside = path.with_name(f"{path.name}.new")
    beside.write_bytes(builder.sign(ca_key, hashes.SHA256()).public_bytes(PEM))
    return beside.replace(path)
