"""A controller's orders while something else happens at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raftline.logmanager import LogManager
from raftline.net.protocol.host import Batch
from raftline.node.clock import SYSTEM
from raftline.node.loop.driver import Driver
from raftline.raft.effects import Effects
from raftline.raft.membership import Membership
from raftline.raft.node import node_from_disk
from raftline.raft.state import Options
from raftline.storage.disk import FilesRefused
from raftline.storage.folder import Folder
from raftline_course.controlled_server import ControlledServer
from raftline_course.controller.control import Control
from raftline_course.controller.faults import Faults
from raftline_testing.doubles.fake_rim import FakeRim, elect
from raftline_testing.files.node_files import MEMBERS

DEADLINE_S = 60.0


class SlowManager(LogManager):
    """Its disk stands still until it is asked to continue."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.stands, self.goes_on = threading.Event(), threading.Event()
        self.goes_on.set()

    def write(self, works: Sequence[Effects]) -> tuple[int, int] | None:
        if not self.goes_on.is_set():
            self.stands.set()
        assert self.goes_on.wait(DEADLINE_S)
        return super().write(works)


def test_shutdown_amid_a_long_write_releases_files_after_it(tmp_path: Path) -> None:
    """A node that is shut down during a long write releases its files after the write."""
    manager = SlowManager("s1", Folder(str(tmp_path)), MEMBERS)
    recovered = manager.recover()
    node = node_from_disk(
        "s1",
        Membership(tuple(MEMBERS), addresses=MEMBERS),
        recovered.log,
        recovered.hard_state,
        Options(election_timeout_ms=60_000, heartbeat_ms=20),
        lambda: 60_000,
        SYSTEM.now_ms(),
    )
    driver = Driver(node, manager, FakeRim(), hold_ms=60_000)
    driver.start("s1")
    elect(driver)
    manager.goes_on.clear()
    driver.submit(Batch(["set a 1"], is_read=False))
    assert manager.stands.wait(DEADLINE_S)
    driver.stop(0.01)
    server: Any = SimpleNamespace(
        name="s1",
        driver=driver,
        logmanager=manager,
        folder=lambda: Folder(str(tmp_path)),
        release_files=lambda: ControlledServer.release_files(server),
    )
    control = Control(server, lambda _: None, None)
    with pytest.raises(FilesRefused):
        control._put_aside()
    manager.goes_on.set()
    driver._threads[1].join(DEADLINE_S)
    assert control._put_aside() == "s1.log.aside-1"


def test_node_with_a_deleted_log_reports_even_a_quick_recovery(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A node with a deleted log reports its recovery even if quick."""
    state = SimpleNamespace(term=3, recovering=True, membership=SimpleNamespace(names=("s1", "s2")))

    def catch_up() -> None:
        state.recovering = False

    node: Any = SimpleNamespace(
        name="s1",
        is_down=True,
        view=state,
        release_files=lambda: None,
        recover=lambda: None,
        check_member=lambda: [],
        end_connections=lambda: None,
        start=catch_up,
    )
    control = Control(node, lambda _: None, None)
    monkeypatch.setattr(control, "_put_aside", lambda: "s1.log.aside-1")
    assert control._delete_log().text.endswith("s1 is back without a vote until it has caught up")


def test_end_of_a_slow_heartbeat_order_spares_a_later_one() -> None:
    """The end of a slow heartbeat order does not end a later one."""
    ends: list[Callable[[], None]] = []
    faults = Faults("s1")
    faults.after = lambda wait_s, act: ends.append(act)  # type: ignore[method-assign]
    node: Any = SimpleNamespace(
        name="s1", is_down=True, faults=faults, peers=set, pace=SimpleNamespace(heartbeat_ms=100)
    )
    control = Control(node, lambda _: None, None)
    control._fault("HEARTBEAT", ["20s", "for", "3s"])
    control._fault("HEARTBEAT", ["20s"])
    ends[0]()
    assert faults.table.described() == ["HEARTBEAT 20000ms"]
    control._fault("HEARTBEAT", ["20s", "for", "3s"])
    ends[1]()
    assert faults.table.described() == []
