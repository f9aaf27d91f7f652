"""The first story of the lab page: its data is current, and each chapter shows what it says."""

from __future__ import annotations

import pytest

from raftline.picture.harness.lab import first_steps
from raftline.picture.harness.lab.lab import Lab
from raftline.picture.harness.lab.plan import read_plan
from raftline.picture.harness.lab.sources import ROOT


def test_recorded_run_is_current() -> None:
    """If it is not, `make -C docs first-steps` writes it."""
    recorded = (ROOT / "docs/learn/lab/first.json").read_text(encoding="utf-8")
    assert recorded == first_steps.text()


@pytest.mark.parametrize(
    ("chapter", "leader", "committed"),
    [(0, "s1", 1), (1, "s1", 2), (2, None, 2), (3, "s2", 3), (4, "s2", 3)],
)
def test_chapter_ends_when_it_has_been_seen(chapter: int, leader: str, committed: int) -> None:
    lab = Lab(read_plan(first_steps.PLAN))
    lab.run_until(first_steps.CHAPTERS[chapter].until_ms)
    views = {name: host.node.view for name, host in lab.hosts.items() if host.node is not None}
    leads = [name for name, view in views.items() if view.role.value == "leader"]
    assert leads == ([leader] if leader else [])
    assert max(view.commit_index for view in views.values()) == committed
    assert ("s1" in views) == (chapter not in (2, 3))
