"""A controller's node lets go of its files, also where its disk took long."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raftline.batch import Batch
from raftline.control import Control
from raftline.driver import Driver, now_ms
from raftline.logmanager import LogManager
from raftline.raft.effects import Effects
from raftline.raft.membership import Membership
from raftline.raft.node import Node
from raftline.raft.state import Options
from raftline.storage.errors import FilesRefused
from raftline.storage.folder import Folder
from tests.node_files import MEMBERS
from tests.unit.test_driver import FakeRim, elect

DEADLINE_S = 10.0


class SlowManager(LogManager):
    """Its disk stands still until it is told to go on."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.stands, self.goes_on = threading.Event(), threading.Event()
        self.goes_on.set()

    def write(self, works: Sequence[Effects]) -> tuple[int, int] | None:
        if not self.goes_on.is_set():
            self.stands.set()
        assert self.goes_on.wait(DEADLINE_S)
        return super().write(works)


def test_a_node_that_was_shut_down_amid_a_long_write_lets_go_of_its_files_after_it(
    tmp_path: Path,
) -> None:
    manager = SlowManager("s1", Folder(str(tmp_path)), MEMBERS)
    recovered = manager.recover()
    node = Node(
        "s1", Membership(tuple(MEMBERS), addresses=MEMBERS), recovered.log, recovered.hard_state,
        Options(election_timeout_ms=60_000, heartbeat_ms=20), lambda: 60_000, now_ms(),
    )  # fmt: skip
    driver = Driver(node, manager, FakeRim(), hold_ms=60_000)
    driver.start("s1")
    elect(driver)
    manager.goes_on.clear()
    driver.submit(Batch(["set a 1"], is_read=False))
    assert manager.stands.wait(DEADLINE_S)
    driver.stop(0.01)
    server: Any = SimpleNamespace(name="s1", driver=driver, logmanager=manager)
    waking: Any = SimpleNamespace(folder=lambda: Folder(str(tmp_path)))
    control = Control(server, waking, lambda _: None, None)
    with pytest.raises(FilesRefused):
        control._put_aside()
    manager.goes_on.set()
    driver._threads[1].join(DEADLINE_S)
    assert control._put_aside() == "s1.log.aside-1"
