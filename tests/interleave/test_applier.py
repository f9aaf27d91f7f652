"""A follower offloads long entries, while a snapshot comes in their place, and it stops."""

from __future__ import annotations

import re
import threading
import time
from typing import Any
from unittest import mock

import pytest

from raftline.node.loop import applying, stepper
from raftline.node.loop import driver as drivers
from raftline.node.loop.driver import Driver
from raftline.node.snapshots import snapshot_threads, snapshots
from raftline.node.snapshots.snapshot_threads import SnapshotThreads
from raftline.node.snapshots.snapshots import Turn, When
from raftline.raft.messages import AppendEntries
from raftline.state.commands.machines import Machines
from raftline_testing.doubles import snapshot_rig
from raftline_testing.doubles.snapshot_rig import Rig, leaders_snapshot, pieces
from raftline_testing.files.faulty_folder import MemoryFolder
from raftline_testing.files.node_files import MEMBERS, boot, entries
from raftline_testing.interleave.scenarios import check_interleavings, first_failure, seeds
from raftline_testing.interleave.threads import Thread, pass_steps

LINES = (drivers, stepper, applying, snapshots, snapshot_threads)
COMMANDS = ("set a 1", "machine m 1", "machine m 1", "set b 1", "machine m 1")
AFTER = ("machine m 1", "set c 1")  # the snapshot, which ends with entry 20
PAIRS = {"a": "9", "m": "40"}
STATES: dict[int, dict[str, str]] = {
    0: {},
    1: {"a": "1"},
    2: {"a": "1", "m": "1"},
    3: {"a": "1", "m": "2"},
    4: {"a": "1", "b": "1", "m": "2"},
    5: {"a": "1", "b": "1", "m": "3"},
    20: PAIRS,
    21: {**PAIRS, "m": "41"},
    22: {**PAIRS, "c": "1", "m": "41"},
}
LONG_S = (0.0, 0.0005, 0.002, 0.01)  # a check of a snapshot pauses for 0.5 ms at a time
AMID_STEPS = 2000
PIECE_BYTES = 100
PATIENCE_S = 60.0


class Counter:
    """A program's machine; a command takes a while. Its sights are in `faults`, since an error
    here is only the reply."""

    def __init__(self, rig: Rig) -> None:
        self._manager = rig.manager
        self.count = 0
        self.faults: list[str] = []

    def apply(self, command: Any) -> Any:
        applied = self._manager.applied
        time.sleep(Thread.schedule.random.choice(LONG_S))
        if self._manager.applied != applied:
            self.faults.append(f"the pairs of {applied} were replaced amid an entry")
        self.count += command
        return self.count

    def snapshot(self) -> Any:
        return self.count

    def restore(self, state: Any) -> None:
        self.count = state


class Scene:
    """The follower s2, and s1, which sends it long entries, a snapshot, and more of them."""

    def __init__(self) -> None:
        Thread.schedule.allow_for_many_steps()
        self.rig = Rig(MemoryFolder(), 1 << 40, MEMBERS)
        self.machine = Counter(self.rig)
        self.rig.manager.state.machines = Machines({"m": self.machine})
        self.rig.threads.start()
        self.is_stopped = False
        self.leader = threading.Thread(target=self._lead, name="leader")
        self.leader.start()

    @property
    def applied(self) -> int:
        return self.rig.driver.node.view.applied

    def _lead(self) -> None:
        receive = self.rig.driver.receive
        new = entries(1, 2, *COMMANDS)
        receive([AppendEntries("s1", "s2", 2, 0, 0, new, len(new), 1)], self.rig)
        pass_steps(AMID_STEPS)
        for piece in pieces(*leaders_snapshot(PAIRS), PIECE_BYTES):
            receive([piece], self.rig)
        while self.rig.driver.node.view.log.base_index < 20:
            if self.is_stopped:
                return
            time.sleep(0.01)
        receive([AppendEntries("s1", "s2", 3, 20, 3, entries(21, 3, *AFTER), 22, 1)], self.rig)

    def check(self) -> None:
        """The pairs are those of the entry that the core knows to be applied."""
        assert self.rig.failures == []
        assert self.machine.faults == []
        assert self.rig.manager.applied.index == self.applied
        assert dict(self.rig.manager.store) == STATES[self.applied]

    def stop(self) -> None:
        self.rig.threads.stop()
        self.rig.driver.stop(PATIENCE_S)
        self.is_stopped = True
        self.leader.join()


def it_is_refilled() -> None:
    """The snapshot comes while long entries are applied; those that follow on it are applied."""
    scene = Scene()
    scene.leader.join()
    for _ in range(100):
        if scene.applied == max(STATES):
            break
        time.sleep(0.1)
    assert scene.applied == max(STATES), f"stays at {scene.applied}: {scene.rig.failures}"
    scene.check()
    scene.stop()


def it_stops() -> None:
    """It stops during all that: each entry is applied whole or not, and the files are good."""
    scene = Scene()
    pass_steps(AMID_STEPS)
    scene.stop()
    alive = [thread.name for thread in scene.rig.driver._threads if thread.is_alive()]
    assert not (alive and Thread.schedule.is_punctual), "at work after the stop"
    if alive:  # it was waited for, up to the limit
        return
    scene.check()
    manager, recovered = boot(scene.rig.folder.kill(), "s2")
    assert dict(manager.store) == STATES[manager.applied.index]
    found = re.findall(r"I am up to date term \d+ index (\d+)", "\n".join(scene.rig.answers))
    assert recovered.log.last_index >= max(map(int, found), default=0), "it acknowledged more"


@seeds(15, 10_000)
def test_snapshot_comes_between_two_long_entries(seeds: range) -> None:
    """A snapshot that replaces long entries is installed between two of them."""
    check_interleavings(it_is_refilled, seeds, LINES)


@seeds(15, 10_000)
def test_follower_stopping_amid_a_snapshot_leaves_all_whole(seeds: range) -> None:
    """A follower that stops during long entries and a snapshot leaves a consistent state."""
    check_interleavings(it_stops, seeds, LINES)


class WaitsForNoEntry(SnapshotThreads):
    """A fault: a snapshot is taken over while an entry is offloaded."""

    def _has_come(self, turn: Turn, wakeup: Any) -> bool:
        return (
            turn.act() if turn.when is When.NOTHING_OFFLOADED else super()._has_come(turn, wakeup)
        )


class LeavesTheApplier(Driver):
    """A fault: a stop does not wait for the entry that is being applied."""

    def stop(self, patience_s: float) -> None:
        applier = self._threads.pop()
        self._threads.append(threading.Thread(target=time.time))
        self._threads[-1].join = lambda timeout=None: None  # type: ignore[method-assign]
        super().stop(patience_s)
        self._threads[-1] = applier


@pytest.mark.slow
def test_a_snapshot_amid_an_entry_is_found() -> None:
    with mock.patch.object(snapshot_rig, "SnapshotThreads", WaitsForNoEntry):
        failure = first_failure(it_is_refilled, range(50), LINES)
    assert failure is not None
    assert "reports entry" in str(failure)


@pytest.mark.slow
def test_a_stop_that_leaves_the_applier_at_work_is_found() -> None:
    with mock.patch.object(snapshot_rig, "Driver", LeavesTheApplier):
        failure = first_failure(it_stops, range(50), LINES)
    assert failure is not None
    assert "at work after the stop" in str(failure)
