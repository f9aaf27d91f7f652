"""The expiry of certificates: read it from their files, and warn people in time.

No decision depends on it: OpenSSL refuses expired certificates.
"""

from __future__ import annotations

import calendar
import re
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

WARN_DAYS: Final = 30
AT_S_MAX: Final = 253_402_300_800  # the year 10,000
_DAY_S = 86_400
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_EXPLICIT_VERSION, _UTC_TIME = 0xA0, 0x17
# In a TBSCertificate (RFC 5280, section 4.1), after its version: the parts before its validity.
_SERIAL_ALGORITHM_ISSUER = 3


def ends_of(path: Path) -> int | None:
    """Return the earliest expiry of the certificates in a PEM file, in seconds since 1970, UTC.
    Return None if no certificate can be read."""
    try:
        certificates = _PEM.findall(path.read_text("ascii", "replace"))
        return min(map(_end, certificates), default=None)
    except (OSError, ValueError, IndexError):
        return None


def warning(what: str, ends_s: int) -> str:
    """Return a line about a certificate that expires within WARN_DAYS, or "" for any other."""
    left_s = ends_s - time.time()
    if left_s > WARN_DAYS * _DAY_S:
        return ""
    if left_s <= 0:
        return f"{what} has expired: {as_date(ends_s)}"
    days = int(left_s // _DAY_S)
    return f"{what} expires in {days} day{'s' * (days != 1)}: {as_date(ends_s)}"


def as_date(at_s: int) -> str:
    """Return a time in readable form: 2027-01-31 12:00 UTC."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at_s))


def _end(pem: str) -> int:
    """Return the expiry of a certificate (X.509, RFC 5280, section 4.1). Raises ValueError or
    IndexError if its form is wrong."""
    _, certificate = next(_parts(ssl.PEM_cert_to_DER_cert(pem)))
    _, body = next(_parts(certificate))
    fields = [part for part in _parts(body) if part[0] != _EXPLICIT_VERSION]
    _, validity = fields[_SERIAL_ALGORITHM_ISSUER]
    _, (kind, data) = _parts(validity)
    text = data.decode("ascii")
    if kind == _UTC_TIME:  # two-digit years from 1950 on
        text = ("19" if text >= "50" else "20") + text
    return calendar.timegm(time.strptime(text, "%Y%m%d%H%M%SZ"))


def _parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the tag and the content of each DER value (X.690), in order."""
    at = 0
    while at < len(data):
        tag, size = data[at], data[at + 1]
        at += 2
        if size & 0x80:  # the number of following bytes, which hold the size
            count = size & 0x7F
            size = int.from_bytes(data[at : at + count], "big")
            at += count
        if at + size > len(data):
            raise ValueError("cut off")
        yield tag, data[at : at + size]
        at += size
