"""`raftline certs --renew`: what it prints, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftline.access import authority
from raftline.common.config import ConfigError
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


@pytest.mark.parametrize("name", ["ca", "s1"])
def test_certificate_that_can_not_be_written_leaves_no_key(tmp_path: Path, name: str) -> None:
    """Neither file is useful without the other, and the next run makes both."""
    lost = tmp_path / f"{name}.pem"
    lost.symlink_to(tmp_path / "gone" / "file")
    with pytest.raises((ConfigError, OSError)):
        authority.make(tmp_path, ["s1=localhost"], [])
    assert not list(tmp_path.glob(f"{name}.*"))
    authority.make(tmp_path, ["s1=localhost"], [])
    assert len(list(tmp_path.glob(f"{name}.*"))) == 2


def test_renew_takes_no_names(tmp_path: Path) -> None:
    done = in_process.raftline("certs", tmp_path, "--renew", "--client", "x")
    assert done.returncode == 2
    assert "--renew renews the certificates in DIR" in done.stderr
