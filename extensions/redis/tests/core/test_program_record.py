"""The judge of programs with libraries of Redis (redis/program_record.py)."""

from __future__ import annotations

import pytest

from raftline.redis.harness.program_record import ProgramRecord

LIARS = {
    "1 items are lost: ['0.2']": ["did put 0.1", "did put 0.2", "holds 0.1"],
    "1 items are there twice: [\"0.1 ['taken', 'there']\"]": [
        "did put 0.1", "did take 0.1", "holds 0.1",
    ],
    "1 items are there twice: [\"0.1 ['taken', 'taken']\"]": [
        "did put 0.1", "did take 0.1", "did take 0.1",
    ],
    "nobody added ['0.9']": ["holds 0.9"],
    "the counter says 1, after 2 and perhaps 1 more": [
        "did count 0.1", "did count 0.2", "failed count 0.3 Connection is closed.", "counts 1",
    ],
    "the counter says 3, after 2 and perhaps 0 more": [
        "did count 0.1", "did count 0.2", "counts 3",
    ],
    "the program has not read its counter": ["did count 0.1"],
    "w1 got the lock that w0 held": ["did lock w0", "did lock w1", "leaving w1"],
}  # fmt: skip


def record(*lines: str) -> ProgramRecord:
    """Return the record of a program that printed these lines."""
    record = ProgramRecord()
    record.take(lines)
    return record


@pytest.mark.parametrize("finding", LIARS)
def test_judge_finds_a_lie_of_the_store(finding: str) -> None:
    assert record(*LIARS[finding]).findings() == [finding]


def test_failed_operation_may_have_taken_effect() -> None:
    """Or not: neither is a finding."""
    failed = ["failed put 0.1 Socket closed", "failed count 0.2 UNKNOWN", "did count 0.3"]
    for seen in (["holds 0.1", "counts 2"], ["counts 1"]):
        assert record(*failed, *seen).findings() == []


def test_failed_pop_may_have_taken_one_item() -> None:
    two = ["did put 0.1", "did put 0.2", "failed take - Socket closed"]
    assert record(*two, "holds 0.1").findings() == []
    assert record(*two).findings() == ["2 items are lost: ['0.1', '0.2']"]


def test_worker_leaves_a_lock_before_it_releases_it() -> None:
    lines = ["did lock w0", "leaving w0", "did lock w1", "failed unlock w0 timed out", "leaving w1"]
    assert record(*lines).findings() == []


def test_other_lines_of_a_program_are_kept() -> None:
    assert record("did put 0.1", "Error: no such module").others == ["Error: no such module"]
