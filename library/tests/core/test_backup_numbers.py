"""The numbers in the reply to `backup`."""

from __future__ import annotations

import pytest

from raftline.clients.requests.backup_copy import BEGUN
from tests.core.lines.numerals import LOOKALIKES, TOO_LONG


@pytest.mark.parametrize("number", [*LOOKALIKES, *TOO_LONG])
def test_a_text_that_only_looks_like_a_number_is_refused(number: str) -> None:
    reply = "BACKUP response: {}-1 of 66 bytes crc32 1ff08c67"
    assert BEGUN.fullmatch(reply.format(1))
    assert BEGUN.fullmatch(reply.format(number)) is None
