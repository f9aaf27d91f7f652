"""The end of certificates: in figures, in `status`, at a node's start, and renewed in time."""

from __future__ import annotations

import contextlib
import os
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509

from raftline.access import authority, expiry
from raftline.access.expiry import ends_of, warning
from raftline.access.tls import Tls, TlsFiles
from raftline.common.config import ConfigError
from raftline.node.program.access_settings import AccessSettings
from raftline_testing.doubles import certificates

DAY_S = 86_400


def ends_by_cryptography(path: Path) -> int:
    return int(x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc.timestamp())


@pytest.fixture
def made(tmp_path: Path) -> Path:
    authority.make(tmp_path, ["s1=localhost"], ["app"], days=20)
    authority.make(tmp_path, ["s2=localhost"], [])
    return tmp_path


def test_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    """Whatever the mask of the process allows; certificates are public."""
    folder, mask = tmp_path / "new" / "tls", os.umask(0)
    try:
        authority.make(folder, ["s1=localhost"], ["app"])
    finally:
        os.umask(mask)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    keys = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.glob("*.key")}
    assert keys == dict.fromkeys(("ca.key", "s1.key", "app.key"), 0o600)


def test_the_end_is_the_one_that_another_library_reads(made: Path) -> None:
    for name in ("ca", "s1", "s2", "app"):
        path = made / f"{name}.pem"
        assert ends_of(path) == ends_by_cryptography(path)
    chain = made / "chain.pem"
    chain.write_bytes((made / "s2.pem").read_bytes() + (made / "s1.pem").read_bytes())
    assert ends_of(chain) == ends_by_cryptography(made / "s1.pem")
    authority.make(made, ["far=localhost"], [], days=3650 * 3)  # after 2049, in the other form
    assert ends_of(made / "far.pem") == ends_by_cryptography(made / "far.pem")
    files = TlsFiles(made / "s1.pem", made / "s1.key", made / "ca.pem")
    assert Tls(files).ends() == {
        "certificate": ends_of(made / "s1.pem"),
        "ca": ends_of(made / "ca.pem"),
    }


def test_file_without_a_certificate_has_no_end(made: Path) -> None:
    der = ssl.PEM_cert_to_DER_cert((made / "s1.pem").read_text())
    path = made / "odd.pem"
    for size in range(0, len(der), 7):
        path.write_text(ssl.DER_cert_to_PEM_cert(der[:size]))
        assert ends_of(path) in (None, ends_of(made / "s1.pem"))
    path.write_text("no certificate")
    assert ends_of(path) is None
    assert ends_of(made / "gone.pem") is None


@pytest.mark.parametrize(
    ("left_s", "said"),
    [
        (31 * DAY_S, ""),
        (30 * DAY_S, "it expires in 30 days: 2001-10-09 01:46 UTC"),
        (1.5 * DAY_S, "it expires in 1 day: 2001-09-10 13:46 UTC"),
        (60, "it expires in 0 days: 2001-09-09 01:47 UTC"),
        (0, "it has expired: 2001-09-09 01:46 UTC"),
        (-DAY_S, "it has expired: 2001-09-08 01:46 UTC"),
    ],
)
def test_an_end_that_is_near_is_said(
    monkeypatch: pytest.MonkeyPatch, left_s: float, said: str
) -> None:
    monkeypatch.setattr(expiry.time, "time", lambda: 1e9)
    assert warning("it", int(1e9 + left_s)) == said


def test_a_node_says_at_its_start_which_certificate_ends_soon(made: Path) -> None:
    def said(name: str) -> list[str]:
        settings = AccessSettings(
            host="localhost", tls_cert=made / f"{name}.pem", tls_ca=made / "ca.pem"
        )
        return [line for line in settings.warnings() if "expires" in line]

    assert said("s2") == []
    (line,) = said("s1")
    assert line.startswith(f"[!] --tls-cert {made / 's1.pem'} expires in 19 days: 20")


def test_a_certificate_that_ends_soon_is_renewed_with_its_key(made: Path) -> None:
    before = {path.name: path.read_bytes() for path in made.iterdir()}
    renewed = [f"{made / name}.pem, for 90 days from now" for name in ("app", "s1")]
    assert authority.renew(made, 90) == renewed
    after = {path.name: path.read_bytes() for path in made.iterdir()}
    assert {name for name in after if after[name] != before.get(name)} == {"app.pem", "s1.pem"}
    old, new = (x509.load_pem_x509_certificate(each["s1.pem"]) for each in (before, after))
    assert (new.subject, new.public_key()) == (old.subject, old.public_key())
    assert {each.oid: each.value for each in new.extensions} == {
        each.oid: each.value for each in old.extensions
    }
    assert new.serial_number != old.serial_number
    assert new.not_valid_after_utc > old.not_valid_after_utc
    Tls(TlsFiles(made / "s1.pem", made / "s1.key", made / "ca.pem"))  # the key fits
    assert authority.renew(made) == [f"no certificate in {made} ends within 30 days"]


def test_what_this_ca_did_not_sign_is_not_renewed(made: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    authority.make(other, ["s3=localhost"], [], days=5)
    (made / "s3.pem").write_bytes((other / "s3.pem").read_bytes())
    with pytest.raises(ConfigError, match=r"s3\.pem: is not a certificate that this CA signed"):
        authority.renew(made)
    (made / "ca.key").unlink()
    with pytest.raises(ConfigError, match=r"has no ca\.key, which signs certificates"):
        authority.renew(made)


def test_a_ca_that_ends_soon_is_reported(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ends_s = ends_of(made / "ca.pem")
    assert ends_s is not None
    certificates.issue(made, "s1", certificates.named("s1"), ["s1"])
    monkeypatch.setattr(authority, "warning", lambda what, at_s: at_s == ends_s and f"{what} ends")
    assert authority.renew(made) == [f"{made / 'ca.pem'} ends; a new CA is needed then"]


def test_amid_a_change_of_the_ca_certificates_of_both_are_taken(made: Path, tmp_path: Path) -> None:
    """As docs/operate/tls-and-secret.md says, "A new CA"."""
    newer = tmp_path / "newer"
    authority.make(newer, ["s1=localhost", "s2=localhost"], [])
    both = tmp_path / "both.pem"
    both.write_bytes((newer / "ca.pem").read_bytes() + (made / "ca.pem").read_bytes())

    def of(folder: Path, name: str, ca: Path) -> Tls:
        return Tls(TlsFiles(folder / f"{name}.pem", folder / f"{name}.key", ca), is_only=True)

    assert meet(of(made, "s1", both), of(newer, "s2", both))
    assert meet(of(newer, "s1", both), of(made, "s2", both))
    assert meet(of(newer, "s1", newer / "ca.pem"), of(newer, "s2", newer / "ca.pem"))
    assert not meet(of(made, "s1", both), of(newer, "s2", newer / "ca.pem"))


def meet(dials: Tls, answers: Tls) -> bool:
    """Whether both sides of a handshake take each other's certificate."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        dials.client_context().wrap_bio(back, there, server_hostname="s2"),
        answers.server_context().wrap_bio(there, back, server_side=True),
    ]
    try:
        for side in sides * 3:
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    except ssl.SSLError:
        return False
    return all(side.getpeercert() for side in sides)
