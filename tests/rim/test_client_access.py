"""As whom a command asks is its own: other clients of the process have nothing of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftline import cli
from raftline.clients.conversation import Client
from raftline.clients.pool import Clients


@pytest.mark.parametrize("words", [["get", "--at", "localhost:1", "a"], ["status"]])
def test_a_command_leaves_its_login_to_no_other_client(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RAFTLINE_USER", "RAFTLINE_PASSWORD_FILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "server-configuration.txt").write_text("s1 localhost 1\n", encoding="utf-8")
    if words == ["status"]:
        words = ["status", "--dir", str(tmp_path)]
    head, *rest = words
    assert cli.main([head, "--user", "ann", "--password-file", "none", *rest]) != 0
    assert Client().credentials is None
    assert Clients("localhost:1").credentials is None
