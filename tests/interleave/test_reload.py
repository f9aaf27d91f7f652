"""SIGHUP: what is read again is never older than the last one, and one thread reads at a time."""

from __future__ import annotations

import threading

from raftline.common.config import ConfigError
from raftline.common.process import wakeup
from raftline.node.program import service
from raftline.node.program.service import Reload
from raftline_testing.interleave.scenarios import check_interleavings, seeds
from raftline_testing.interleave.threads import Thread

LINES = (service, wakeup)
CHANGES = 4


def files_change() -> None:
    """Two operators change a file and ask for it, while it is being read; some versions are bad."""
    lines: list[str] = []
    reload = Reload("s1", lines.append)
    version, taken, is_read = 0, 0, False

    def read() -> str:
        nonlocal taken, is_read
        assert not is_read, "two threads read it"
        is_read = True
        seen = version
        Thread.schedule.step()
        is_read = False
        if seen % 3 == 1:
            raise ConfigError("no such file")
        taken = seen
        return ""

    def change() -> None:
        nonlocal version
        for _ in range(CHANGES):
            version += 1
            reload.ask()
            Thread.schedule.sleep(0.01)

    reload.add("secret", read)
    reload.add("settings", lambda: "")
    operators = [threading.Thread(target=change) for _ in range(2)]
    operators[0].start()
    reload.begin()
    operators[1].start()
    for operator in operators:
        operator.join()
    while Thread.schedule.now_s < 2000.0:
        Thread.schedule.sleep(100.0)
    assert taken == version == 2 * CHANGES, "a change was not read"
    assert len([line for line in lines if "has reloaded" in line]) <= version


@seeds(100, 20_000)
def test_no_change_is_left_unread(seeds: range) -> None:
    check_interleavings(files_change, seeds, LINES)
