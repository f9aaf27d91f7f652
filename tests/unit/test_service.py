"""Which requests are served when, by a clock that the test sets."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

import raftline.gathering
import raftline.service
from raftline.batch import Batch
from raftline.desk import Desk
from raftline.service import Service
from tests.unit.cores import leader_of


class Clock:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.mark.parametrize(
    ("took_s", "waits_s"), [(0.002, 0.005), (0.011, 0.001)], ids=("near", "far")
)
def test_writes_wait_for_those_before_them_unless_these_take_long(
    took_s: float, waits_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(raftline.service, "time", clock)
    monkeypatch.setattr(raftline.gathering, "time", clock)
    node = leader_of("s1", 1)
    writer = cast(Any, SimpleNamespace(is_full=False, is_busy=False))
    service = Service(node, Desk(0), writer, cast(Any, None), lambda _: None, lambda: None)
    service.leads = True

    def write(number: int) -> int:
        """Have one write served; return its index."""
        service.came(Batch([f"set a {number}"], is_read=False))
        assert service.is_wanted()
        service.serve(lambda: 0)
        return node.state.log.last_index

    index = write(1)
    clock.now_s += took_s
    assert service.landed(index)
    write(2)
    service.came(Batch(["set a 3"], is_read=False))
    assert service.until_s() == pytest.approx(clock.now_s + waits_s)
    clock.now_s += waits_s * 0.9
    assert not service.is_wanted()
    clock.now_s += waits_s * 0.2
    assert service.is_wanted()
