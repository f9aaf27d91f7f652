"""The record of a job queue (redis/job_record.py)."""

from __future__ import annotations

from raftline.redis.harness.job_record import JobRecord


def test_jobs_are_counted_by_their_outcome() -> None:
    record = JobRecord()
    lines = [
        "did put 1 0.010", "did put 2 1.500", "did put 10 0.020", "Traceback",
        "failed put 4 ConnectionError: Connection closed by server.", "failed put 5 TimeoutError: ",
    ]  # fmt: skip
    failures = list(record.take(lines))
    record.done.update(["1", "4", "1", "6"])
    assert failures == lines[-2:]
    assert len(record.acknowledged) == 3
    assert record.lost == ["2", "10"]
    assert record.twice == ["1"]
    assert record.invented == ["6"]  # the outcome of job 4 was unknown
    assert record.slowest_s == 1.5
    assert record.reasons["ConnectionError: Connection closed by server."] == 1
