"""The log in memory: figure 2's `log[]`, Log Matching (§5.3), and which log is better (§5.4.1)."""

from __future__ import annotations

import pytest

from raftline.raft.log import Entry, Log, SafetyError


def test_log_knows_the_term_of_its_base_and_nothing_before() -> None:
    log = Log(base_index=7, base_term=3)
    log.append(4, "set a 4")
    assert [log.term_at(index) for index in (6, 7, 8, 9)] == [None, 3, 4, None]
    assert log.entries(8, 8) == [Entry(8, 4, "set a 4")]
    with pytest.raises(SafetyError):
        log.entries(7, 8)
    with pytest.raises(SafetyError):
        log.cut_after(6)
