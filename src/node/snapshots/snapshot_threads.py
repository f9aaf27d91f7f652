"""The threads that do the jobs of snapshots.py in the background.

None of them holds a lock during long reads, writes or computations. Python runs one thread at a
time, so they also pause after each small piece of work. The pauses of the first thread are
proportional to the cost of the piece.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable

from ...common.process.guarded_thread import guarded_thread
from ...common.process.wakeup import Pauses, Wakeup, give_way
from ...logmanager import LogManager
from ...raft.inputs import Input
from ...raft.messages import InstallSnapshot
from ..loop.driver import Driver
from .snapshots import SPREAD, Snapshots, Turn, Turns, When


class _StoppingError(Exception):
    """The node stops; unfinished files stay behind, and are removed at the next start."""


class SnapshotThreads:
    """The threads `NAME snapshots`, which takes and checks snapshots, and `NAME chunks`, which
    sends them."""

    def __init__(
        self,
        driver: Driver,
        logmanager: LogManager,
        post: Callable[[InstallSnapshot], None],
        say: Callable[[str], None],
        compact_bytes: int,
    ) -> None:
        """Prepare the threads. `post` sends a message, complete with its data, to its peer."""
        self.core = driver.core
        self.step: Callable[[Input], None] = driver.step
        self.post, self.say = post, say
        self._driver = driver
        taker, sender = Wakeup(), Wakeup()
        self.wake_taker, self.wake_sender = taker.set, sender.set
        self._stopping = False
        self._pauses = Pauses()
        self.work = work = Snapshots(driver.node, logmanager, driver.writes, self, compact_bytes)
        driver.sum_states(work.sum_state)
        runs: dict[str, Callable[[], None]] = {
            "snapshots": lambda: self._run(work.take_and_check(), taker, self.pause),
            "chunks": lambda: self._run(work.send_pieces(), sender, give_way),
        }
        self._threads = [
            guarded_thread(run, f"{logmanager.name} {what}", driver.fail)
            for what, run in runs.items()
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Abandon the work in progress, and wait until the threads have released the files."""
        self._stopping = True
        self.wake_taker()
        self.wake_sender()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=5.0)

    def spread(self) -> float:
        return random.uniform(1.0, SPREAD)

    def pause(self) -> None:
        """Give the other threads time to run: they serve clients, unlike this one."""
        if self._stopping:
            raise _StoppingError
        self._pauses.pause()

    def _run(self, job: Turns[None], wakeup: Wakeup, pause: Callable[[], None]) -> None:
        """Do a job until the node stops."""
        with contextlib.suppress(_StoppingError), contextlib.closing(job):
            turn = next(job)
            while not self._stopping:
                if turn is None:
                    pause()
                turn = job.send(turn is None or self._has_come(turn, wakeup))

    def _has_come(self, turn: Turn, wakeup: Wakeup) -> bool:
        """Wait until a turn can continue; return the result for its job."""
        if turn.when is When.NOTHING_OFFLOADED:
            with self._driver.offload:
                return turn.act()
        if turn.when is When.BETWEEN_WRITES:
            return self._driver.between_writes(turn.act)
        return wakeup.wait(turn.limit_s)
