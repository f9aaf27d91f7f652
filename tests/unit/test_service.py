"""Which requests are served when, by a clock that the test sets."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

import raftline.node.gathering
import raftline.node.service
from raftline.net.batch import Batch
from raftline.node.gathering import MINUTE_S, QUIET_S
from raftline.node.queue import RequestQueue
from raftline.node.service import Service
from tests.unit.cores import leader_of


class Clock:
    """Stands in for the module `time`: what has passed, and what this process used of a core."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.used_s = 3.0

    def monotonic(self) -> float:
        return self.now_s

    def process_time(self) -> float:
        return self.used_s


class Scene:
    """A leader and its clock; writes are served, and land when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock()
        monkeypatch.setattr(raftline.node.service, "time", self.clock)
        monkeypatch.setattr(raftline.node.gathering, "time", self.clock)
        self.node = leader_of("s1", 1)
        writer = cast(Any, SimpleNamespace(is_full=False, is_busy=False))
        self.service = Service(
            self.node, RequestQueue(0), writer, cast(Any, None), lambda _: None, lambda: None
        )
        self.service.leads = True

    def write(self) -> int:
        """Ask for a write, and have it served unless it waits; return the index of the last."""
        self.service.enqueue(Batch(["set a 1"], is_read=False))
        self.clock.now_s += QUIET_S
        self.service.serve(lambda: 0)
        return self.node.state.log.last_index

    def pass_time(self, seconds: float, share: float) -> None:
        """Let time pass in which the node uses that share of a core."""
        self.clock.now_s += seconds
        self.clock.used_s += seconds * share

    def land(self, took_s: float, share: float) -> None:
        """Serve a write that takes so long, some time after those before."""
        self.pass_time(0.2, share)
        index = self.write()
        self.pass_time(took_s, share)
        assert self.service.committed(index)

    def waits_s(self) -> float:
        """Return how long a write waits for one that is under way."""
        self.clock.now_s += 0.2
        first, begun_s = self.write(), self.clock.now_s
        assert self.write() == first, "it waits"
        until_s = self.service.until_s()
        assert not self.service.is_wanted()
        self.clock.now_s = until_s + 1e-6
        assert self.service.is_wanted()
        self.service.serve(lambda: 0)
        assert self.node.state.log.last_index == first + 1
        self.clock.now_s += 0.02
        assert self.service.committed(first + 1)
        return until_s - begun_s


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(monkeypatch)


def test_writes_wait_a_while_for_those_before_them(scene: Scene) -> None:
    scene.land(took_s=0.002, share=0.2)
    scene.land(took_s=0.011, share=0.2)
    assert scene.waits_s() == pytest.approx(0.005)


@pytest.mark.parametrize(
    ("share", "waits_s"), [(0.1, 0.001), (0.5, 0.0025), (0.9, 0.0045), (1.2, 0.005)]
)
def test_where_writes_always_take_long_an_idle_node_lets_others_go_behind_them(
    scene: Scene, share: float, waits_s: float
) -> None:
    scene.land(took_s=0.011, share=share)
    assert scene.waits_s() == pytest.approx(waits_s, rel=0.01)


def test_a_quick_write_is_remembered_for_a_minute_or_two(scene: Scene) -> None:
    scene.land(took_s=0.002, share=0.2)
    scene.pass_time(MINUTE_S + 1, share=0.2)
    scene.land(took_s=0.011, share=0.2)
    assert scene.waits_s() == pytest.approx(0.005)
    scene.pass_time(MINUTE_S + 1, share=0.2)
    scene.land(took_s=0.011, share=0.2)
    assert scene.waits_s() == pytest.approx(0.001)
    scene.land(took_s=0.002, share=0.2)
    assert scene.waits_s() == pytest.approx(0.005)
