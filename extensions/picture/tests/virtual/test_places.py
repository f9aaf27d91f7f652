"""The place of each reason: the function that it names ran in the step that it explains."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from raftline.picture.harness.judging.collected import Collector
from raftline.picture.observe.explain import explain
from raftline.picture.observe.facts import Step
from raftline.raft import inputs
from raftline.raft.inputs import Input
from raftline.raft.log import Snapshot
from raftline.raft.node import RawNode
from raftline_testing.doubles.cores import leader_of
from raftline_testing.runner.at_night import at_night, in_the_rest
from raftline_testing.transcripts.player import perform
from raftline_testing.virtual.schedule import run

pytestmark = pytest.mark.pure  # compiled functions can't be followed
TRANSCRIPTS = sorted((Path(__file__).parents[4] / "tests" / "transcripts").glob("*.txt"))


class Places(Collector):
    """Compares the places of each step's reasons with the functions that ran in it."""

    def __init__(self) -> None:
        super().__init__(one_clock=True)
        self.ran: set[str] = set()
        self.met: set[str] = set()
        self.wrong: dict[str, str] = {}

    def take(self, step: Step) -> None:
        for reason in explain(step):
            if reason.place in self.ran:
                self.met.add(reason.place)
            else:
                self.wrong[reason.place] = f"{reason.text}, by {type(step.event).__name__}"
        self.ran.clear()

    def note(self, frame: FrameType, event: str, _: Any) -> None:
        path = frame.f_code.co_filename
        if event == "call" and "/raft/" in path:
            self.ran.add(f"{Path(path).stem}.{frame.f_code.co_name}")

    @contextmanager
    def following(self) -> Iterator[None]:
        before = sys.getprofile()
        sys.setprofile(self.note)
        try:
            yield
        finally:
            sys.setprofile(before)


@pytest.mark.parametrize(
    ("transcripts", "least"),
    [in_the_rest(TRANSCRIPTS[::8], 35), *at_night((TRANSCRIPTS, 50))],
    ids=["some", "all"],
)
def test_place_of_each_reason_ran_in_its_step(transcripts: list[Path], least: int) -> None:
    """The place of each reason ran in the step that it explains."""
    places = Places()
    with places.following():
        for path in transcripts:
            perform(path.read_text(encoding="utf-8"), places)
        run(7, steps=1000, collector=places)
    assert places.wrong == {}
    assert len(places.met) >= least  # a test without steps would find nothing wrong either


@pytest.mark.parametrize(
    "taken",
    [
        lambda node: inputs.Stop(),
        lambda node: inputs.SnapshotGone("s2", Snapshot(1, 1, 10, 7)),
    ],
    ids=["stop", "snapshot gone"],
)
def test_the_place_of_what_no_transcript_does(taken: Callable[[RawNode], Input]) -> None:
    node, places = leader_of("s1"), Places()
    places.observe(node, lambda: 0.0)
    with places.following():
        node.step(taken(node), node.view.now_ms)
    assert places.wrong == {}
    assert len(places.met) == 1
