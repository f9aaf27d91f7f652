"""A node whose disk hangs is not ready."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from raftline.common.config import PACES
from raftline.monitoring.endpoints import Pages, hung_disk


def test_a_node_whose_disk_hangs_is_not_ready() -> None:
    assert hung_disk(5000, 500) == ""
    driver = SimpleNamespace(measures=SimpleNamespace(disk_waits_ms=5001))
    pages = Pages()
    pages.serve(cast("Any", SimpleNamespace(driver=driver, pace=PACES["fast"])))
    answer = pages.ready()
    assert answer[:2] == (503, "not ready: a write of its disk has taken 5.0 s already\n")
