"""The files of a client's certificate."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftline.access import authority
from raftline.clients.connections.client_tls import of_files
from raftline.common.config import ConfigError


def test_a_certificate_whose_key_is_not_named_asks_for_it(tmp_path: Path) -> None:
    authority.make(tmp_path, ["s1=localhost"], ["app"])
    named = ("--tls-cert", "--tls-key", "--tls-ca")
    said = r"--tls-cert .*app\.pem: .*; if the key is in a separate file, name --tls-key as well"
    with pytest.raises(ConfigError, match=said):
        of_files(tmp_path / "app.pem", None, None, None, named)
    both = tmp_path / "both.pem"
    both.write_text((tmp_path / "app.pem").read_text() + (tmp_path / "app.key").read_text())
    assert of_files(both, None, tmp_path / "ca.pem", None, named).context()
