"""`raftline certs --renew`: what it prints, and what it refuses."""

from __future__ import annotations

from pathlib import Path

from raftline.access import authority
from raftline_testing.doubles import in_process


def test_renewed_certificates_are_printed_one_a_line(tmp_path: Path) -> None:
    authority.make(tmp_path, ["s1=localhost"], ["app"], days=20)
    done = in_process.raftline("certs", tmp_path, "--renew", "--days", 90)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"{tmp_path / name}.pem, for 90 days from now" for name in ("app", "s1")
    ]
    again = in_process.raftline("certs", tmp_path, "--renew")
    assert again.stdout == f"no certificate in {tmp_path} ends within 30 days\n"


def test_renew_takes_no_names(tmp_path: Path) -> None:
    done = in_process.raftline("certs", tmp_path, "--renew", "--client", "x")
    assert done.returncode == 2
    assert "--renew renews the certificates in DIR" in done.stderr
