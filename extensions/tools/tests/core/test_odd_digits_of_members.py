"""A port in a node's answer that only looks like a number names no further member."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from raftline.tools.status import status


def others(port: str) -> object:
    answer = {"members": {"s4": f"localhost:{port}"}, "members_since": 1}
    return status._others(cast(Any, [SimpleNamespace(name="s1", answer=answer)]))


@pytest.mark.parametrize("port", ["١", "²", "1_0", "+1", "1e1", "0x1", "01", "9" * 20, "9" * 5000])
def test_a_port_that_only_looks_like_a_number_is_refused(port: str) -> None:
    assert others("1")
    assert not others(port)
