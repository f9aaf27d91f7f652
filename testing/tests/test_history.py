"""Each answer tells what became of a request; nothing else is taken for one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from raftline_testing.histories.history import ClientOperation, learned

GET = ClientOperation("c", "get", "k", None, 1.0, None)
SET = ClientOperation("c", "set", "k", "v", 1.0, None)
DELETE = ClientOperation("c", "delete", "k", None, 1.0, None)
CAS = ClientOperation("c", "cas", "k", "v", 1.0, None, old="o")
SETNX = replace(CAS, old=None)


@pytest.mark.parametrize(
    ("asked", "reply", "expected"),
    [
        (GET, "GET response: v w", {"value": "v w"}),
        (GET, "GET response, no such key: k", {"value": None}),
        (SET, "SET response: k set to v", {}),
        (DELETE, "DELETE response: k deleted", {"found": True}),
        (DELETE, "DELETE response, no such key: k", {"found": False}),
        (CAS, "CAS response: k set to v", {"matched": True, "found": True}),
        (CAS, "CAS response, no match: k", {"matched": False, "found": True}),
        (CAS, "CAS response, no such key: k", {"matched": False, "found": False}),
        (SETNX, "SETNX response: k set to v", {"matched": True}),
        (SETNX, "SETNX response, key exists: k", {"matched": False, "found": True}),
    ],
)
def test_a_history_gets_the_outcome_from_the_answer(
    asked: ClientOperation, reply: str, expected: dict[str, Any]
) -> None:
    assert learned(asked, reply, 2.0) == replace(asked, returned_at=2.0, **expected)


@pytest.mark.parametrize(
    ("asked", "reply"),
    [
        (GET, "SET response: k set to v"), (GET, "GET response, no such key: j"), (GET, ""),
        (SET, "SET response: k set to w"), (SET, "SET response, no such key: k"),
        (DELETE, "DELETE response: j deleted"), (CAS, "CAS response, key exists: k"),
        (SETNX, "SETNX response, no such key: k"), (SETNX, "CAS response: k set to v"),
    ],
)  # fmt: skip
def test_an_answer_to_another_request_is_not_an_answer(asked: ClientOperation, reply: str) -> None:
    assert learned(asked, reply, 2.0) is None
