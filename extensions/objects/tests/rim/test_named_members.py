"""The members that a node in a program names."""

from __future__ import annotations

import pytest

from raftline.common.config import ConfigError
from raftline.objects.named_members import check_open


@pytest.mark.parametrize("host", ["localhost.example.com", "127.evil.example", "::1f00:1"])
def test_name_beginning_like_localhost_is_another_machine(host: str) -> None:
    """A name that only begins like localhost is not this machine."""
    with pytest.raises(ConfigError, match="open_to_network=True") as refusal:
        check_open(host, open_to_network=False)
    assert "peer" not in str(refusal.value)  # with a secret nobody can speak as one
    check_open(host, open_to_network=True)
    check_open("127.0.0.2", open_to_network=False)
