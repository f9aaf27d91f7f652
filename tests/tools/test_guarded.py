"""A command that is ended since what it needs was lost, and what it had started."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from raftline.harness.processes import eventually
from raftline.tools.guarded import Guarded, Signals

# Its child leaves the process group, and has a child there that nobody waits for.
LEAVES_A_ZOMBIE = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
group = os.getpgrp()
if not os.fork():
    os.setpgid(0, 0)
    if not os.fork():
        os.setpgid(0, group)
        with open(sys.argv[1] + ".new", "w") as file:
            file.write(str(os.getppid()))
        os.rename(sys.argv[1] + ".new", sys.argv[1])
    time.sleep(60)
    os._exit(0)
time.sleep(60)
"""


def test_nothing_that_sigkill_leaves_in_the_group_is_waited_for(tmp_path: Path) -> None:
    started = tmp_path / "started"
    guarded = Guarded([sys.executable, "-c", LEAVES_A_ZOMBIE, str(started)], 1, 0.1)

    def lost() -> None:
        eventually(started.exists, "all have started")

    with Signals() as signals:
        ended = guarded.wait(signals, lost)
    os.kill(int(started.read_text()), signal.SIGKILL)  # it is there still
    assert (ended.status, ended.was_lost) == (128 + 9, True)
