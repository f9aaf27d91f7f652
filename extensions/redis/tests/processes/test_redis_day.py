"""A slice of `make -C testing redis-day`, with the loop of redis-py in place of a library."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from raftline.redis.harness import run_day


def test_day_of_a_queue_counts_jobs_through_a_kill(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("redis", reason="the workers are redis-py")
    (tmp_path / "redis").symlink_to(sys.prefix)
    slice_ = ["--minutes", "0.1", "--every", "2", "--rate", "30", "--workers", "2", "--settle", "3"]
    status = run_day.main([str(tmp_path), "--only", "redis", *slice_])
    output = capfd.readouterr().out
    rows = re.findall(r"\| redis \| \d+ \| (\d+) \| (\d+) ", output)
    assert status == 0, output
    assert rows, output
    changes, acknowledged = map(int, rows[-1])
    assert changes >= 1
    assert acknowledged >= 30
