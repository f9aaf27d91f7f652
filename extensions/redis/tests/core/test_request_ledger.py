"""The bounds of a request's ledger, to the byte."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from raftline.redis.resp.request_ledger import OverLedgerError, RequestLedger
from raftline.wire.limits import ANSWER_BYTES, REQUEST_WORK_BYTES

CHANGES_MAX = 4096
Count = Callable[[RequestLedger, int], None]


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize(
    ("count", "most"),
    [
        (RequestLedger.returns, ANSWER_BYTES),
        (RequestLedger.changes, CHANGES_MAX),
        (RequestLedger.works, REQUEST_WORK_BYTES),
    ],
)
def test_a_request_has_as_much_as_the_bound_says(count: Count, most: int, pieces: int) -> None:
    ledger = RequestLedger(CHANGES_MAX)
    for _ in range(pieces - 1):
        count(ledger, most // pieces)
    rest = most - (pieces - 1) * (most // pieces)
    count(ledger, rest)
    with pytest.raises(OverLedgerError, match=f"more than {most} bytes"):
        count(ledger, 1)
